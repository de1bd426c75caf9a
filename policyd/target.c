/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/target.h"
#include "lib/secret.h"

#include <libpq-fe.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OPTIONS_MAX 64   /* libpq 15 has 42 */
#define PLACES_MAX 32    /* hosts in a conninfo, and addresses in all */
#define LIST_MAX 8192    /* bytes of a list for host=, hostaddr=, port= */

/* One host of the conninfo, or one address of it. */
struct place {
    char *host; /* "" for none: libpq's default */
    char *addr; /* "" when host is a socket's folder or not resolved */
    char *port; /* "" for the default */
};

struct places {
    struct place place[PLACES_MAX];
    size_t count;
};

struct target {
    uv_loop_t *loop;
    uv_getaddrinfo_t question;
    uv_idle_t idle; /* to answer from the loop when nothing is to be asked */
    bool asking, answering, dying;
    struct target_wait *waits;

    char *keywords[OPTIONS_MAX + 1];
    char *values[OPTIONS_MAX + 1];
    size_t count;
    size_t host, hostaddr, port; /* indices in keywords and values */

    struct places given;    /* as configured */
    struct places found;    /* with addresses; what connections use */
    struct places building; /* of the resolution that runs */
    size_t next;            /* of given, to be looked up */
    char error[256];
};

static void
wipe_free(char **text)
{
    if (*text != NULL)
        secret_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static void
places_clear(struct places *places)
{
    size_t i;

    for (i = 0; i < places->count; i++) {
        free(places->place[i].host);
        free(places->place[i].addr);
        free(places->place[i].port);
    }
    memset(places, 0, sizeof(*places));
}

static bool
places_add(struct places *places, const char *host, const char *addr,
           const char *port)
{
    struct place *place = &places->place[places->count];

    if (places->count == PLACES_MAX)
        return true; /* more than anyone has; the first ones will do */
    place->host = strdup(host);
    place->addr = strdup(addr);
    place->port = strdup(port);
    places->count++;
    return place->host != NULL && place->addr != NULL && place->port != NULL;
}

/* Copies the nth item of a comma separated list; "" where it is too short.
 * A list of one item counts for all when repeat is set. */
static void
list_item(const char *list, size_t n, bool repeat, char *item_r, size_t size)
{
    size_t len;

    item_r[0] = '\0';
    if (list == NULL || (repeat && strchr(list, ',') == NULL))
        n = 0;
    if (list == NULL)
        return;
    for (; n > 0; n--) {
        list = strchr(list, ',');
        if (list == NULL)
            return;
        list++;
    }
    len = strcspn(list, ",");
    if (len >= size)
        len = size - 1;
    memcpy(item_r, list, len);
    item_r[len] = '\0';
}

static size_t
list_length(const char *list)
{
    size_t n = 1;

    if (list == NULL || list[0] == '\0')
        return 0;
    for (; (list = strchr(list, ',')) != NULL; list++)
        n++;
    return n;
}

static bool
read_places(struct target *target)
{
    const char *hosts = target->values[target->host];
    const char *addrs = target->values[target->hostaddr];
    const char *ports = target->values[target->port];
    size_t count = list_length(hosts), i;

    if (list_length(addrs) > count)
        count = list_length(addrs);
    for (i = 0; i < count || i == 0; i++) {
        char host[1024], addr[256], port[32];

        list_item(hosts, i, false, host, sizeof(host));
        list_item(addrs, i, false, addr, sizeof(addr));
        list_item(ports, i, true, port, sizeof(port));
        if (!places_add(&target->given, host, addr, port))
            return false;
    }
    return true;
}

/* Index of a keyword, added without a value when it is not there. */
static size_t
keyword_index(struct target *target, const char *keyword)
{
    size_t i;

    for (i = 0; i < target->count; i++)
        if (strcmp(target->keywords[i], keyword) == 0)
            return i;
    if (i < OPTIONS_MAX) {
        target->keywords[i] = strdup(keyword);
        target->count++;
    }
    return i;
}

static bool
set_option(struct target *target, const char *keyword, const char *value)
{
    size_t i = keyword_index(target, keyword);

    if (i >= OPTIONS_MAX || target->keywords[i] == NULL)
        return false;
    wipe_free(&target->values[i]);
    target->values[i] = strdup(value);
    return target->values[i] != NULL;
}

static bool
set_options(struct target *target, const PQconninfoOption *options)
{
    for (; options->keyword != NULL; options++)
        if (options->val != NULL
            && !set_option(target, options->keyword, options->val))
            return false;
    return true;
}

/* The value of a parsed conninfo's keyword, or NULL. */
static const char *
given_option(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

/*
 * What the environment and the service file say, then what the conninfo says.
 * PQconndefaults() reads the service that PGSERVICE names, so one that the
 * conninfo names stands there while it runs.
 */
static bool
complete(struct target *target, const PQconninfoOption *given)
{
    const char *service = given_option(given, "service");
    char *outer = getenv("PGSERVICE") ? strdup(getenv("PGSERVICE")) : NULL;
    PQconninfoOption *defaults;
    bool ok;

    if (service != NULL)
        setenv("PGSERVICE", service, 1);
    defaults = PQconndefaults();
    if (service != NULL && outer != NULL)
        setenv("PGSERVICE", outer, 1);
    else if (service != NULL)
        unsetenv("PGSERVICE");
    free(outer);
    ok = defaults != NULL && set_options(target, defaults)
         && set_options(target, given);
    PQconninfoFree(defaults);
    return ok;
}

static bool
add_own(struct target *target, unsigned int statement_timeout_ms)
{
    size_t i = keyword_index(target, "options");
    char options[1024];
    int len;

    if (i >= OPTIONS_MAX || target->keywords[i] == NULL)
        return false;
    len = snprintf(options, sizeof(options), "%s -c statement_timeout=%u",
                   target->values[i] ? target->values[i] : "",
                   statement_timeout_ms);
    if (len < 0 || (size_t) len >= sizeof(options))
        return false;
    if (statement_timeout_ms > 0 && !set_option(target, "options", options))
        return false;
    return set_option(target, "fallback_application_name", "emailing-policyd")
           && set_option(target, "client_encoding", "UTF8");
}

static void
destroy(struct target *target)
{
    size_t i;

    for (i = 0; i < target->count; i++) {
        wipe_free(&target->values[i]);
        free(target->keywords[i]);
    }
    places_clear(&target->given);
    places_clear(&target->found);
    places_clear(&target->building);
    free(target);
}

static void
on_idle_closed(uv_handle_t *handle)
{
    destroy(handle->data);
}

struct target *
target_new(uv_loop_t *loop, const char *conninfo,
           unsigned int statement_timeout_ms, char *error_r,
           size_t error_size)
{
    struct target *target = calloc(1, sizeof(*target));
    char *message = NULL;
    PQconninfoOption *given = PQconninfoParse(conninfo, &message);
    bool ok;

    snprintf(error_r, error_size, "conninfo: %s",
             message ? message : "out of memory or too many options");
    error_r[strcspn(error_r, "\n")] = '\0';
    PQfreemem(message);
    ok = target != NULL && given != NULL && complete(target, given)
         && add_own(target, statement_timeout_ms);
    PQconninfoFree(given);
    if (ok) {
        target->loop = loop;
        target->host = keyword_index(target, "host");
        target->hostaddr = keyword_index(target, "hostaddr");
        target->port = keyword_index(target, "port");
        ok = target->port < OPTIONS_MAX && target->hostaddr < OPTIONS_MAX
             && target->host < OPTIONS_MAX && read_places(target);
    }
    if (!ok) {
        if (target != NULL)
            destroy(target);
        return NULL;
    }
    uv_idle_init(loop, &target->idle);
    target->idle.data = target;
    target->question.data = target;
    return target;
}

void
target_free(struct target **target)
{
    struct target *old = *target;

    *target = NULL;
    if (old == NULL)
        return;
    while (old->waits != NULL)
        target_cancel(old->waits);
    old->dying = true;
    if (!old->asking)
        uv_close((uv_handle_t *) &old->idle, on_idle_closed);
}

void
target_cancel(struct target_wait *wait)
{
    if (wait->link == NULL)
        return;
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    wait->next = NULL;
    wait->link = NULL;
}

/* Tells everyone who waits. */
static void
answer(struct target *target)
{
    const char *error = target->found.count > 0 ? NULL : target->error;
    struct target_wait *waits = target->waits, *wait;

    /* Those who ask again from their callback wait for the next answer. */
    target->waits = NULL;
    if (waits != NULL)
        waits->link = &waits;
    while ((wait = waits) != NULL) {
        target_cancel(wait);
        wait->resolved(wait, error);
    }
}

static void
on_idle(uv_idle_t *idle)
{
    struct target *target = idle->data;

    uv_idle_stop(idle);
    target->answering = false;
    answer(target);
}

/* The resolution is done: the addresses found become those in use. */
static void
finish(struct target *target)
{
    places_clear(&target->found);
    target->found = target->building;
    memset(&target->building, 0, sizeof(target->building));
    target->answering = true;
    uv_idle_start(&target->idle, on_idle);
}

/* Whether libpq can use the place as it is: a socket's folder (also abstract,
 * with '@'), a given address, the default, or a numeric host. */
static bool
needs_no_lookup(const struct place *place)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *list = NULL;
    bool numeric;

    if (place->addr[0] != '\0' || place->host[0] == '\0'
        || place->host[0] == '/' || place->host[0] == '@')
        return true;
    numeric = getaddrinfo(place->host, NULL, &hints, &list) == 0;
    if (list != NULL)
        freeaddrinfo(list);
    return numeric;
}

static void ask_next(struct target *target);

static void
on_answer(uv_getaddrinfo_t *question, int status, struct addrinfo *list)
{
    struct target *target = question->data;
    const struct place *place = &target->given.place[target->next];
    const struct addrinfo *info;
    char addr[256];

    target->asking = false;
    if (target->dying) {
        uv_freeaddrinfo(list);
        uv_close((uv_handle_t *) &target->idle, on_idle_closed);
        return;
    }
    if (status != 0)
        snprintf(target->error, sizeof(target->error),
                 "cannot resolve \"%s\": %s", place->host,
                 uv_strerror(status));
    for (info = list; status == 0 && info != NULL; info = info->ai_next)
        if (getnameinfo(info->ai_addr, info->ai_addrlen, addr, sizeof(addr),
                        NULL, 0, NI_NUMERICHOST)
            == 0)
            places_add(&target->building, place->host, addr, place->port);
    uv_freeaddrinfo(list);
    target->next++;
    ask_next(target);
}

/* Goes through the hosts, stops at the first that must be looked up. */
static void
ask_next(struct target *target)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                          .ai_flags = AI_ADDRCONFIG};

    for (; target->next < target->given.count; target->next++) {
        const struct place *place = &target->given.place[target->next];
        int status;

        if (needs_no_lookup(place)) {
            places_add(&target->building, place->host, place->addr,
                       place->port);
            continue;
        }
        status = uv_getaddrinfo(target->loop, &target->question, on_answer,
                                place->host, NULL, &hints);
        if (status == 0) {
            target->asking = true;
            return;
        }
        snprintf(target->error, sizeof(target->error),
                 "cannot resolve \"%s\": %s", place->host,
                 uv_strerror(status));
    }
    finish(target);
}

void
target_resolve(struct target *target, struct target_wait *wait)
{
    wait->next = target->waits;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    wait->link = &target->waits;
    target->waits = wait;
    if (target->asking || target->answering)
        return;
    places_clear(&target->building);
    target->next = 0;
    snprintf(target->error, sizeof(target->error), "no address to connect to");
    ask_next(target);
}

const char *const *
target_keywords(struct target *target)
{
    return (const char *const *) target->keywords;
}

/* Writes one field of all places, joined by commas. */
static bool
join(const struct target *target, unsigned int rotation, size_t field,
     char **value)
{
    char list[LIST_MAX] = "";
    size_t used = 0, i, count = target->found.count;

    for (i = 0; i < count; i++) {
        const struct place *place =
            &target->found.place[(i + rotation) % count];
        const char *item = *(char *const *) ((const char *) place + field);
        int n = snprintf(list + used, sizeof(list) - used, "%s%s",
                         i > 0 ? "," : "", item);

        if (n < 0 || (size_t) n >= sizeof(list) - used)
            return false;
        used += (size_t) n;
    }
    free(*value);
    *value = NULL;
    /* A list of nothing but commas says nothing; libpq has its defaults. */
    if (strspn(list, ",") == used)
        return true;
    *value = strdup(list);
    return *value != NULL;
}

const char *const *
target_values(struct target *target, unsigned int rotation)
{
    if (target->found.count == 0
        || !join(target, rotation, offsetof(struct place, host),
                 &target->values[target->host])
        || !join(target, rotation, offsetof(struct place, addr),
                 &target->values[target->hostaddr])
        || !join(target, rotation, offsetof(struct place, port),
                 &target->values[target->port]))
        return NULL;
    return (const char *const *) target->values;
}
