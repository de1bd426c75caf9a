/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_SCHEMA_SQL_H
#define MAILADMIN_SCHEMA_SQL_H

/*
 * The files of sql/, built in. The array ends with a NULL name. Files with a
 * number are migrations, in their order; the others have version 0.
 */
struct schema_file {
    const char *name; /* "functions.sql" */
    int version;
    const char *text;
};

extern const struct schema_file schema_files[];

#endif
