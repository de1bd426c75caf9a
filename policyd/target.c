/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/conninfo.h"
#include "policyd/target.h"
#include "lib/log.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

    struct conninfo conninfo;

    struct places given;    /* as configured */
    struct places found;    /* with addresses; what connections use */
    struct places building; /* of the resolution that runs */
    size_t next;            /* of given, to be looked up */
    char error[256];
};

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
    const char *hosts = conninfo_get(&target->conninfo, "host");
    const char *addrs = conninfo_get(&target->conninfo, "hostaddr");
    const char *ports = conninfo_get(&target->conninfo, "port");
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

static void
destroy(struct target *target)
{
    conninfo_wipe(&target->conninfo);
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

    if (target == NULL
        || !conninfo_read(&target->conninfo, conninfo, statement_timeout_ms,
                          error_r, error_size)
        || !read_places(target)) {
        if (target == NULL || target->given.count > 0)
            snprintf(error_r, error_size, "conninfo: out of memory");
        if (target != NULL)
            destroy(target);
        return NULL;
    }
    target->loop = loop;
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

void
target_drop_options(struct target *target)
{
    if (conninfo_get(&target->conninfo, "options") == NULL)
        return;
    log_warning("db: start-up options are refused (a pooler?); doing without "
                "a statement timeout");
    conninfo_set(&target->conninfo, "options", NULL);
}

const char *const *
target_keywords(struct target *target)
{
    return (const char *const *) target->conninfo.keywords;
}

/* Sets an option to one field of all places, joined by commas. */
static bool
join(struct target *target, unsigned int rotation, size_t field,
     const char *keyword)
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
    /* A list of nothing but commas says nothing; libpq has its defaults. */
    return conninfo_set(&target->conninfo, keyword,
                        strspn(list, ",") == used ? NULL : list);
}

const char *const *
target_values(struct target *target, unsigned int rotation)
{
    if (target->found.count == 0
        || !join(target, rotation, offsetof(struct place, host), "host")
        || !join(target, rotation, offsetof(struct place, addr), "hostaddr")
        || !join(target, rotation, offsetof(struct place, port), "port"))
        return NULL;
    return (const char *const *) target->conninfo.values;
}
