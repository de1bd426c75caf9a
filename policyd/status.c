/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/status.h"

#include <microhttpd.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64
#define CONNECTIONS 64
#define TIMEOUT_S 10
#define FUTILE_MAX 8 /* wake-ups in a row for nothing, then a pause */
#define PAUSE_MS 1000
#define TEXT_PLAIN "text/plain; charset=utf-8"
#define TEXT_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct status {
    struct MHD_Daemon *http;
    struct status_source source;
    uv_poll_t *poll;
    uv_timer_t *timer;
    unsigned int futile;
};

/* Hands the text over; it is freed with the response. */
static enum MHD_Result
respond(struct MHD_Connection *connection, unsigned int code,
        const char *type, char *text, size_t len,
        enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, text, mode);
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
respond_word(struct MHD_Connection *connection, unsigned int code,
             const char *word)
{
    return respond(connection, code, TEXT_PLAIN, (char *) (uintptr_t) word,
                   strlen(word), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result
respond_metrics(const struct status *status,
                struct MHD_Connection *connection)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return MHD_NO;
    status->source.metrics(status->source.context, out);
    if (fclose(out) != 0) {
        free(text);
        return MHD_NO;
    }
    return respond(connection, MHD_HTTP_OK, TEXT_METRICS, text, len,
                   MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url,
           const char *method, const char *version, const char *upload,
           size_t *upload_size, void **state)
{
    struct status *status = context;
    static char begun;

    status->futile = 0;
    (void) version;
    (void) upload;
    if (*upload_size > 0)
        return MHD_NO;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0
        && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return respond_word(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                            "only GET\n");
    /* An answer to the head alone would end the connection, which is right
     * for the others, who may have a body to send. */
    if (*state == NULL) {
        *state = &begun;
        return MHD_YES;
    }
    if (strcmp(url, "/healthz") == 0)
        return respond_word(connection, MHD_HTTP_OK, "ok\n");
    if (strcmp(url, "/readyz") == 0 && status->source.ready(
                                           status->source.context))
        return respond_word(connection, MHD_HTTP_OK, "ready\n");
    if (strcmp(url, "/readyz") == 0)
        return respond_word(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                            "waiting for the database\n");
    if (strcmp(url, "/metrics") == 0)
        return respond_metrics(status, connection);
    return respond_word(connection, MHD_HTTP_NOT_FOUND,
                        "there is /healthz, /readyz, /metrics\n");
}

static void on_timer(uv_timer_t *timer);

/* Lets libmicrohttpd work, and comes back when it next wants to, or after a
 * pause: at its limit of connections it stops listening, and listens again only
 * in the run after the one in which they went, for which nothing may wake us. */
static void
run(struct status *status)
{
    MHD_UNSIGNED_LONG_LONG timeout;

    MHD_run(status->http);
    if (MHD_get_timeout(status->http, &timeout) != MHD_YES
        || timeout > PAUSE_MS)
        timeout = PAUSE_MS;
    uv_timer_start(status->timer, on_timer, timeout, 0);
}

static void
on_poll(uv_poll_t *poll, int error, int events)
{
    struct status *status = poll->data;
    const union MHD_DaemonInfo *info;

    (void) error;
    (void) events;
    run(status);
    /* Without a descriptor for a client it leaves him waiting, and his call
     * would wake us without end. */
    info = MHD_get_daemon_info(status->http,
                               MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    if (info == NULL || info->num_connections > 0)
        status->futile = 0;
    else if (++status->futile > FUTILE_MAX) {
        uv_poll_stop(poll);
        uv_timer_start(status->timer, on_timer, PAUSE_MS, 0);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct status *status = timer->data;

    status->futile = 0;
    uv_poll_start(status->poll, UV_READABLE, on_poll);
    run(status);
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

/* Watches libmicrohttpd's epoll descriptor. */
static bool
watch(struct status *status, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(status->http, MHD_DAEMON_INFO_EPOLL_FD);

    if (info == NULL)
        return false;
    status->poll = calloc(1, sizeof(*status->poll));
    status->timer = calloc(1, sizeof(*status->timer));
    if (status->poll == NULL || status->timer == NULL
        || uv_poll_init(loop, status->poll, info->epoll_fd) != 0) {
        free(status->poll);
        free(status->timer);
        status->poll = NULL;
        status->timer = NULL;
        return false;
    }
    uv_timer_init(loop, status->timer);
    status->poll->data = status->timer->data = status;
    return uv_poll_start(status->poll, UV_READABLE, on_poll) == 0;
}

struct status *
status_new(uv_loop_t *loop, int fd, const struct status_source *source)
{
    struct status *status = calloc(1, sizeof(*status));

    if (status == NULL || listen(fd, BACKLOG) != 0) {
        free(status);
        close(fd);
        return NULL;
    }
    status->source = *source;
    status->http = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, status,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket) fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned int) CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) TIMEOUT_S,
        MHD_OPTION_END);
    if (status->http == NULL || !watch(status, loop))
        status_free(&status);
    return status;
}

void
status_free(struct status **status)
{
    struct status *old = *status;

    *status = NULL;
    if (old == NULL)
        return;
    if (old->poll != NULL) {
        uv_close((uv_handle_t *) old->poll, free_handle);
        uv_close((uv_handle_t *) old->timer, free_handle);
    }
    if (old->http != NULL)
        MHD_stop_daemon(old->http);
    free(old);
}
