/* SPDX-License-Identifier: MIT */
/* Who may send as what. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdio.h>

/* The object of a grant and its user, in stored form. */
struct pair {
    enum store_kind kind;
    struct addr address;
    struct domain domain;
    struct user_name user;
    const char *text; /* of the address or domain */
};

static bool
parse_pair(struct session *session, enum store_kind kind,
           const struct arguments *arguments, struct pair *pair_r)
{
    pair_r->kind = kind;
    if (kind == STORE_ADDRESS) {
        if (!session_address(session, arguments->value[0], &pair_r->address))
            return false;
        pair_r->text = pair_r->address.text;
    } else {
        if (!session_domain(session, arguments->value[0], &pair_r->domain))
            return false;
        pair_r->text = pair_r->domain.text;
    }
    return session_name(session, arguments->value[1], &pair_r->user);
}

static enum status
grant(struct session *session, enum store_kind kind,
      const struct arguments *arguments)
{
    struct pair pair;
    char command[32];
    enum status status;
    bool changed;

    if (!parse_pair(session, kind, arguments, &pair))
        return STATUS_DATA;
    status = store_grant(session->db, kind, pair.text, pair.user.text,
                         arguments->option[0], &changed);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (!changed)
        session_say(session, STATUS_OK, "%s %s is granted to %s already",
                    store_kind_name(kind), pair.text, pair.user.text);
    snprintf(command, sizeof(command), "grant %s", store_kind_name(kind));
    return session_done(session, command, changed);
}

static enum status
revoke(struct session *session, enum store_kind kind,
       const struct arguments *arguments)
{
    struct pair pair;
    char command[32];
    enum status status;
    bool changed;

    if (!parse_pair(session, kind, arguments, &pair))
        return STATUS_DATA;
    status = store_revoke(session->db, kind, pair.text, pair.user.text,
                          &changed);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (!changed)
        session_say(session, STATUS_OK, "%s %s is not granted to %s",
                    store_kind_name(kind), pair.text, pair.user.text);
    snprintf(command, sizeof(command), "revoke %s", store_kind_name(kind));
    return session_done(session, command, changed);
}

enum status
command_grant_address(struct session *session,
                      const struct arguments *arguments)
{
    return grant(session, STORE_ADDRESS, arguments);
}

enum status
command_grant_domain(struct session *session,
                     const struct arguments *arguments)
{
    return grant(session, STORE_DOMAIN, arguments);
}

enum status
command_revoke_address(struct session *session,
                       const struct arguments *arguments)
{
    return revoke(session, STORE_ADDRESS, arguments);
}

enum status
command_revoke_domain(struct session *session,
                      const struct arguments *arguments)
{
    return revoke(session, STORE_DOMAIN, arguments);
}
