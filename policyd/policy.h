/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_POLICY_H
#define POLICYD_POLICY_H

/*
 * Postfix's policy protocol (SMTPD_POLICY_README): a request in, an action
 * out, with one log line for every refusal and deferral. lib/decide decides;
 * this reads, asks the directory, writes and logs.
 */

#include <stdbool.h>

#include "policyd/histogram.h"
#include "policyd/server.h"
#include "lib/decide.h"

struct directory;
struct usage;

struct policy {
    struct directory *directory;
    struct usage *usage; /* NULL: usage is not recorded */
    struct decide_options options; /* its text outlives the policy */
    bool log_permits;
    bool refusal_reference; /* refusals end in one, and their log line */
    /* By reason and action. */
    unsigned long counts[DECIDE_REASONS][DECIDE_DEFER + 1];
    struct histogram latency;
};

/* The protocol of the policy socket; its context is a struct policy. */
extern const struct protocol policy_protocol;

#endif
