/* SPDX-License-Identifier: MIT */
#ifndef T_SASLPLUGIN_AUTHD_H
#define T_SASLPLUGIN_AUTHD_H

/*
 * Stands in for policyd: an auth server on a unix socket, in a thread of the
 * test. It plays a script, one step a request; when the script is at its end
 * it knows the user below. It counts what it sees.
 *
 * A failure of its own (no socket, no thread) ends the test program.
 */

#include <stdbool.h>

#define AUTHD_USER "user"
#define AUTHD_PASSWORD "pencil"
/* The example of RFC 7677. */
#define AUTHD_VERIFIER                                                        \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                            \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                           \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

enum authd_step {
    AUTHD_REPLY,  /* send the text */
    AUTHD_PIECES, /* send the text, a byte at a time */
    AUTHD_CLOSE,  /* send the text and close the connection */
    AUTHD_SILENT, /* do not answer, keep the connection */
    AUTHD_LATE    /* send the text when the next request has come, before
                   * that one is answered */
};

struct authd;

struct authd *authd_start(const char *path);

/* Closes everything, removes the socket and sets *authd to NULL. */
void authd_stop(struct authd **authd);

/* Adds a step to the script. text is kept as a pointer; NULL means what is
 * answered without a script. */
void authd_script(struct authd *authd, enum authd_step step,
                  const char *text);

unsigned authd_requests(struct authd *authd);
unsigned authd_connections(struct authd *authd);

/* Whether a line of the last request is exactly this. */
bool authd_saw(struct authd *authd, const char *line);

#endif
