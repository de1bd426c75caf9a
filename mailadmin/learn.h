/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_LEARN_H
#define MAILADMIN_LEARN_H

/*
 * What "learn" found: the grants that would have permitted what was observed,
 * what is doubtful about some of them, and what no grant can permit. lesson.c
 * finds, learn.c applies and prints.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailadmin/status.h"
#include "mailadmin/usage.h"

struct lookalikes;
struct session;

/* Why a grant is not proposed without being asked for. */
enum doubt {
    DOUBT_NONE,
    DOUBT_ENDED,      /* there was one, and it ended */
    DOUBT_LOOKALIKE,  /* of what is granted, or much more used */
    DOUBT_ONE_OFF,    /* a single message from that domain, by anyone */
    DOUBT_LOCAL_PART, /* % ! @ " in front of the @ */
    DOUBT_UNGRANTABLE /* cannot be stored, asked for or not */
};

struct proposal {
    const char *user;
    bool is_domain;
    char *text; /* address or domain; owned */
    int64_t messages, senders, last;
    enum doubt doubt;
    const char *like; /* of DOUBT_LOOKALIKE */
};

/* What was observed and is no matter of grants. */
struct remark {
    const char *user, *sender;
    enum usage_form form;
    int64_t messages, last;
};

struct lesson {
    int64_t since, threshold;
    struct store_usage usage;
    PGresult *domains, *addresses; /* that are granted */
    struct lookalikes *known_domains, *known_addresses;
    int64_t senders, granted; /* observed */
    struct proposal *proposals;
    size_t count, room;
    struct remark *remarks;
    size_t remarks_count, remarks_room;
};

/* Fills in a lesson that has since and threshold. On failure the message is
 * set; lesson_free() is due anyway. */
enum status lesson_learn(struct session *session, struct lesson *lesson);
void lesson_free(struct lesson *lesson);

#endif
