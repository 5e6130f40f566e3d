/*
 * Reading Python arguments for the binding, module.c, and for nothing else.
 *
 * Rule: each reader takes the argument and its name, and either fills `out` and returns 0, or sets an
 * exception that names the argument, its value and what to give, and returns -1. What `out` points at
 * belongs to the argument and lives as long as it.
 */
#ifndef DMPOOL_ARGUMENTS_H
#define DMPOOL_ARGUMENTS_H

#include <Python.h>

#include "share.h"

static inline int bytes_argument(PyObject *object, const char *name, struct share_bytes *out)
{
    if (!PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is %.80R; give bytes, not %s", name, object,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    out->at = PyBytes_AS_STRING(object);
    out->length = (size_t)PyBytes_GET_SIZE(object);
    return 0;
}

static inline int sized_argument(PyObject *object, const char *name, size_t size, const uint8_t **out)
{
    struct share_bytes bytes;
    if (bytes_argument(object, name, &bytes) < 0)
        return -1;
    if (bytes.length != size) {
        PyErr_Format(PyExc_ValueError, "%s is %.80R (%zu bytes); give exactly %zu bytes", name, object,
                     bytes.length, size);
        return -1;
    }
    *out = bytes.at;
    return 0;
}

static inline int hashes_argument(PyObject *object, const char *name, struct share_bytes *out)
{
    if (bytes_argument(object, name, out) < 0)
        return -1;
    if (out->length % SHARE_HASH != 0) {
        PyErr_Format(PyExc_ValueError, "%s is %zu bytes long; give whole hashes of %u bytes each", name,
                     out->length, SHARE_HASH);
        return -1;
    }
    return 0;
}

static inline int number_argument(PyObject *object, const char *name, uint64_t most, uint64_t *out)
{
    if (!PyLong_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is %.80R; give an int, not %s", name, object,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (overflow != 0) { /* too long a number may refuse to be printed */
        PyErr_Format(PyExc_ValueError, "%s does not fit in 64 bits; give a number from 0 to %llu", name,
                     (unsigned long long)most);
        return -1;
    }
    if (value < 0 || (uint64_t)value > most) {
        PyErr_Format(PyExc_ValueError, "%s is %.80R; give a number from 0 to %llu", name, object,
                     (unsigned long long)most);
        return -1;
    }
    *out = (uint64_t)value;
    return 0;
}

static inline int u32_argument(PyObject *object, const char *name, uint32_t *out)
{
    uint64_t value;
    if (number_argument(object, name, UINT32_MAX, &value) < 0)
        return -1;
    *out = (uint32_t)value;
    return 0;
}

/* A field of a submit. Text that is not ASCII becomes empty text, which is malformed in every field. */
static inline int text_argument(PyObject *object, const char *name, struct share_bytes *out)
{
    if (PyUnicode_Check(object) && PyUnicode_IS_COMPACT_ASCII(object)) {
        out->at = PyUnicode_1BYTE_DATA(object);
        out->length = (size_t)PyUnicode_GET_LENGTH(object);
        return 0;
    }
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is %.80R; give str, not %s", name, object,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    Py_ssize_t length = 0;
    out->at = PyUnicode_AsUTF8AndSize(object, &length);
    out->length = (size_t)length;
    if (out->at != NULL)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear();
    *out = (struct share_bytes){"", 0};
    return 0;
}

static inline int count_arguments(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() got %zd arguments; give exactly %zd, by position", function, given,
                 wanted);
    return -1;
}

#endif
