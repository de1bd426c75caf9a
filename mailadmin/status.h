/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STATUS_H
#define MAILADMIN_STATUS_H

/*
 * What a command came to: the exit status of the program, after sysexits.h.
 * Scripts rely on the numbers.
 */
enum status {
    STATUS_OK = 0,
    STATUS_REFUSED = 1,      /* by check or test; plan has work; the audit is
                                not intact */
    STATUS_USAGE = 64,
    STATUS_DATA = 65,        /* a name, address or file that is none */
    STATUS_NOT_KEPT = 66,    /* the audit does not reach back that far */
    STATUS_UNKNOWN = 67,     /* no such user, address or domain */
    STATUS_SYSTEM = 71,      /* out of memory and the like */
    STATUS_EXISTS = 73,
    STATUS_UNAVAILABLE = 75, /* the database; trying again may help */
    STATUS_DENIED = 77,
    STATUS_CONFIG = 78
};

#endif
