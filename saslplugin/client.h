/* SPDX-License-Identifier: MIT */
#ifndef SASLPLUGIN_CLIENT_H
#define SASLPLUGIN_CLIENT_H

/*
 * Asks policyd, over its auth socket, one question at a time: is this
 * password right, and which verifier does this user have?
 *
 * A client keeps one idle connection between questions. It may be used by
 * several threads at once (each then has a connection of its own) and after a
 * fork. A question takes no longer than the client's time limit, whatever the
 * other end does; when it fails the reply says why. Nothing here logs. What
 * held a password is wiped before the return.
 */

#include <stdbool.h>
#include <stddef.h>

#define CLIENT_PATH_MAX 107     /* bytes of a unix socket's name */
#define CLIENT_USER_MAX 128     /* bytes of a user name */
#define CLIENT_PASSWORD_MAX 511 /* bytes of a password */
#define CLIENT_VERIFIER_MAX 512 /* bytes of a verifier, with its NUL */
#define CLIENT_REPLY_MAX 2048   /* bytes of a reply */
#define CLIENT_ERROR_MAX 256

/* Bytes of a password in base64, with its NUL. */
#define CLIENT_BASE64_MAX ((CLIENT_PASSWORD_MAX + 2) / 3 * 4 + 1)

struct client_request {
    const char *request;  /* ATTR_REQUEST_AUTH or ATTR_REQUEST_VERIFIER */
    const char *user;
    size_t user_len;
    const char *password; /* base64; NULL when a verifier is asked for */
    const char *client;   /* the SMTP client's address, may be empty */
    size_t client_len;
    const char *service;
};

enum client_status {
    CLIENT_OK,
    CLIENT_DENIED,
    CLIENT_UNAVAILABLE, /* policyd answered that it cannot tell */
    CLIENT_FAILED       /* there was no answer; error says why */
};

struct client_reply {
    enum client_status status;
    char verifier[CLIENT_VERIFIER_MAX]; /* empty when there is none */
    char error[CLIENT_ERROR_MAX];
};

/* What was made of the bytes of a reply so far. */
enum client_parse {
    CLIENT_PARSE_MORE, /* not yet a whole reply */
    CLIENT_PARSE_DONE, /* the reply's status and verifier are set */
    CLIENT_PARSE_BAD   /* not a reply: the reply's error is set */
};

struct client;

/* path is copied and at most CLIENT_PATH_MAX bytes; relative paths are
 * looked up at each connect. NULL when there is no memory. */
struct client *client_new(const char *path, int timeout_seconds);

/* Closes the connection and sets *client to NULL. */
void client_free(struct client **client);

/* Fills the whole reply. The caller wipes it. */
void client_ask(struct client *client, const struct client_request *request,
                struct client_reply *reply_r);

/* Reads a reply from the len bytes at buf, which it leaves as they are. A
 * reply with anything behind it is none: the two ends have lost step. */
enum client_parse client_parse_reply(const char *buf, size_t len,
                                     struct client_reply *reply_r);

#endif
