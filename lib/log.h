/* SPDX-License-Identifier: MIT */
#ifndef LIB_LOG_H
#define LIB_LOG_H

/*
 * Messages of a daemon, one line each, to syslog (facility mail) or standard
 * error. Control bytes never reach the log: they become '?'. Text of peers is
 * an argument, never the format.
 *
 * After log_start_writer() lines are handed to a thread of its own over a
 * bounded queue, so that a full disk or a stopped syslogd never stops the
 * caller; lines that do not fit are counted and the count is logged. They are
 * written a few milliseconds later, with the time at which they were said.
 */

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING,
                 LOG_LEVEL_ERROR };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

/* Until called, messages go to standard error from LOG_LEVEL_INFO on. May be
 * called again. ident must stay valid. */
void log_open(const char *ident, enum log_target target,
              enum log_level level);

/* Starts the writer; false when there is no thread to be had. log_stop_writer
 * writes what is queued (for at most a second) and ends it. */
bool log_start_writer(void);
void log_stop_writer(void);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
