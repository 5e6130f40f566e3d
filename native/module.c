/*
 * The Python binding of the C core: native._core.
 *
 * Not for: logic. It checks arguments, calls the pure C files, and makes Python objects.
 * Rule: a wrong argument is the caller's error and raises, naming the thing, its value and the remedy; a
 * wrong field of a submit is the miner's and comes back as a negative number. The GIL is released where
 * the work may be long: scan, and hashing more than 64 KiB.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "arguments.h"
#include "seen.h"
#include "sha256.h"
#include "share.h"

#define LONG_WORK (64 * 1024)         /* bytes; below it, releasing the GIL costs more than it gives */
#define SCAN_STEP ((uint64_t)1 << 18) /* nonces between two looks at pending signals */

#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

static PyObject *new_bytes(const uint8_t *at, size_t size)
{
    return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
}

/* --- Job --------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct share_job job;
} JobObject;

static int job_set_parts(struct share_job *job, PyObject *const *given)
{
    struct share_bytes coinbase1, coinbase2, branches;
    uint32_t extranonce2_size;
    if (bytes_argument(given[0], "coinbase1", &coinbase1) < 0 ||
        bytes_argument(given[1], "coinbase2", &coinbase2) < 0 ||
        u32_argument(given[2], "extranonce2_size", &extranonce2_size) < 0 ||
        hashes_argument(given[3], "branches", &branches) < 0)
        return -1;
    switch (share_job_init(job, coinbase1, coinbase2, branches, extranonce2_size)) {
    case SHARE_JOB_OK:
        return 0;
    case SHARE_JOB_COINBASE:
        PyErr_Format(PyExc_ValueError,
                     "coinbase1 and coinbase2 are %zu and %zu bytes long; together they may have %u: "
                     "give fewer outputs or a shorter tag",
                     coinbase1.length, coinbase2.length, SHARE_COINBASE_MAX - 2 * SHARE_EXTRANONCE_MAX);
        return -1;
    case SHARE_JOB_EXTRANONCE2_SIZE:
        PyErr_Format(PyExc_ValueError, "extranonce2_size is %R; give a number from 1 to %u", given[2],
                     SHARE_EXTRANONCE_MAX);
        return -1;
    case SHARE_JOB_BRANCHES:
        break;
    }
    PyErr_Format(PyExc_ValueError, "branches holds %zu hashes; give at most %u", branches.length / SHARE_HASH,
                 SHARE_BRANCHES_MAX);
    return -1;
}

static int job_set_header(struct share_job *job, PyObject *const *given)
{
    const uint8_t *previous_block, *network_target;
    if (sized_argument(given[0], "previous_block", SHARE_HASH, &previous_block) < 0 ||
        u32_argument(given[1], "version", &job->version) < 0 ||
        u32_argument(given[2], "bits", &job->bits) < 0 ||
        sized_argument(given[3], "network_target", SHARE_HASH, &network_target) < 0 ||
        u32_argument(given[4], "version_mask", &job->version_mask) < 0 ||
        u32_argument(given[5], "ntime_min", &job->ntime_min) < 0 ||
        u32_argument(given[6], "ntime_max", &job->ntime_max) < 0)
        return -1;
    if (job->ntime_min > job->ntime_max) {
        PyErr_Format(PyExc_ValueError, "ntime_min is %R and ntime_max %R; give a window that is not empty",
                     given[5], given[6]);
        return -1;
    }
    memcpy(job->previous_block, previous_block, SHARE_HASH);
    memcpy(job->network_target, network_target, SHARE_HASH);
    return 0;
}

static PyObject *job_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "coinbase1", "coinbase2", "extranonce2_size", "branches", "previous_block", "version", "bits",
        "network_target", "version_mask", "ntime_min", "ntime_max", NULL,
    };
    PyObject *given[11];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$OOOOOOOOOOO:Job", names, &given[0], &given[1], &given[2],
                                     &given[3], &given[4], &given[5], &given[6], &given[7], &given[8],
                                     &given[9], &given[10]))
        return NULL;
    JobObject *self = (JobObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (job_set_parts(&self->job, given) < 0 || job_set_header(&self->job, given + 4) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void plain_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* (flags, header, hash); takes over the two references, either of which may be NULL after a failure. */
static PyObject *verdict_tuple(int flags, PyObject *header, PyObject *hash)
{
    PyObject *tuple = header != NULL && hash != NULL ? Py_BuildValue("iOO", flags, header, hash) : NULL;
    Py_XDECREF(header);
    Py_XDECREF(hash);
    return tuple;
}

static PyObject *job_check(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct share_submit submit = {.version_bits = {NULL, 0}};
    if (count_arguments("check", count, 6) < 0 ||
        bytes_argument(args[0], "extranonce1", &submit.extranonce1) < 0 ||
        text_argument(args[1], "extranonce2", &submit.extranonce2) < 0 ||
        text_argument(args[2], "ntime", &submit.ntime) < 0 ||
        text_argument(args[3], "nonce", &submit.nonce) < 0 ||
        (args[4] != Py_None && text_argument(args[4], "version_bits", &submit.version_bits) < 0) ||
        sized_argument(args[5], "target", SHARE_HASH, &submit.target) < 0)
        return NULL;

    uint8_t header[SHARE_HEADER], hash[SHARE_HASH];
    const int flags = share_check(&((JobObject *)self)->job, &submit, header, hash);
    if (flags == SHARE_BAD_EXTRANONCE1) {
        PyErr_Format(PyExc_ValueError, "extranonce1 is %.80R (%zu bytes); give at most %u bytes", args[0],
                     submit.extranonce1.length, SHARE_EXTRANONCE_MAX);
        return NULL;
    }
    if (flags < 0)
        return verdict_tuple(flags, new_bytes(NULL, 0), new_bytes(NULL, 0));
    return verdict_tuple(flags, new_bytes(header, sizeof header), new_bytes(hash, sizeof hash));
}

static PyMethodDef job_methods[] = {
    {"check", FASTCALL(job_check), METH_FASTCALL,
     PyDoc_STR("check($self, extranonce1, extranonce2, ntime, nonce, version_bits, target, /)\n--\n\n"
               "Judge one submit: (flags, header, hash).")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot job_slots[] = {
    {Py_tp_new, job_new},
    {Py_tp_dealloc, plain_dealloc},
    {Py_tp_methods, job_methods},
    {Py_tp_doc, (void *)PyDoc_STR("A job that submits are checked against.")},
    {0, NULL},
};

static PyType_Spec job_spec = {
    .name = "native._core.Job",
    .basicsize = sizeof(JobObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = job_slots,
};

/* --- SeenHashes -------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct seen set;
} SeenObject;

static PyObject *seen_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":SeenHashes", names))
        return NULL;
    SeenObject *self = (SeenObject *)type->tp_alloc(type, 0);
    if (self != NULL)
        seen_init(&self->set);
    return (PyObject *)self;
}

static void seen_dealloc(PyObject *self)
{
    seen_clear(&((SeenObject *)self)->set);
    plain_dealloc(self);
}

static PyObject *seen_add_hash(PyObject *self, PyObject *object)
{
    const uint8_t *hash;
    uint64_t key;
    if (sized_argument(object, "hash", SHARE_HASH, &hash) < 0)
        return NULL;
    memcpy(&key, hash, sizeof key); /* the low end of the number: never the zeros of the proof of work */
    switch (seen_add(&((SeenObject *)self)->set, key)) {
    case SEEN_NEW:
        Py_RETURN_TRUE;
    case SEEN_BEFORE:
        Py_RETURN_FALSE;
    case SEEN_NO_MEMORY:
        break;
    }
    return PyErr_NoMemory();
}

static Py_ssize_t seen_length(PyObject *self)
{
    return (Py_ssize_t)seen_count(&((SeenObject *)self)->set);
}

static PyMethodDef seen_methods[] = {
    {"add", seen_add_hash, METH_O,
     PyDoc_STR("add($self, hash, /)\n--\n\nAdd a block hash; True when it is new.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot seen_slots[] = {
    {Py_tp_new, seen_new},
    {Py_tp_dealloc, seen_dealloc},
    {Py_tp_methods, seen_methods},
    {Py_sq_length, seen_length},
    {Py_tp_doc, (void *)PyDoc_STR("The share hashes seen so far.")},
    {0, NULL},
};

static PyType_Spec seen_spec = {
    .name = "native._core.SeenHashes",
    .basicsize = sizeof(SeenObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = seen_slots,
};

/* --- functions --------------------------------------------------------------------------------- */

static PyObject *core_sha256d(PyObject *Py_UNUSED(module), PyObject *object)
{
    struct share_bytes data;
    uint8_t digest[SHA256_DIGEST];
    if (bytes_argument(object, "data", &data) < 0)
        return NULL;
    if (data.length > LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS
        sha256d(data.at, data.length, digest);
        Py_END_ALLOW_THREADS
    } else {
        sha256d(data.at, data.length, digest);
    }
    return new_bytes(digest, sizeof digest);
}

static PyObject *core_merkle_branches(PyObject *Py_UNUSED(module), PyObject *object)
{
    struct share_bytes txids;
    uint8_t branches[64 * SHARE_HASH];
    if (hashes_argument(object, "txids", &txids) < 0)
        return NULL;
    uint8_t *nodes = PyMem_RawMalloc(txids.length + SHARE_HASH);
    if (nodes == NULL)
        return PyErr_NoMemory();
    memcpy(nodes, txids.at, txids.length);
    size_t written;
    if (txids.length > LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS
        written = merkle_branches(nodes, txids.length / SHARE_HASH, branches);
        Py_END_ALLOW_THREADS
    } else {
        written = merkle_branches(nodes, txids.length / SHARE_HASH, branches);
    }
    PyMem_RawFree(nodes);
    return new_bytes(branches, written * SHARE_HASH);
}

static PyObject *core_merkle_root(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const uint8_t *leaf;
    struct share_bytes branches;
    uint8_t root[SHARE_HASH];
    if (count_arguments("merkle_root", count, 2) < 0 ||
        sized_argument(args[0], "leaf", SHARE_HASH, &leaf) < 0 ||
        hashes_argument(args[1], "branches", &branches) < 0)
        return NULL;
    memcpy(root, leaf, sizeof root);
    merkle_fold(root, branches.at, branches.length / SHARE_HASH);
    return new_bytes(root, sizeof root);
}

static PyObject *core_scan(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const uint8_t *header, *target;
    uint32_t first, nonce = 0;
    uint64_t left;
    if (count_arguments("scan", count, 4) < 0 ||
        sized_argument(args[0], "header", SHARE_HEADER, &header) < 0 ||
        u32_argument(args[1], "first_nonce", &first) < 0 ||
        number_argument(args[2], "count", ((uint64_t)1 << 32) - first, &left) < 0 ||
        sized_argument(args[3], "target", SHARE_HASH, &target) < 0)
        return NULL;
    while (left > 0) {
        const uint64_t step = left < SCAN_STEP ? left : SCAN_STEP;
        bool found;
        Py_BEGIN_ALLOW_THREADS
        found = share_scan(header, first, step, target, &nonce);
        Py_END_ALLOW_THREADS
        if (found)
            return PyLong_FromUnsignedLong(nonce);
        if (PyErr_CheckSignals() < 0)
            return NULL;
        first += (uint32_t)step;
        left -= step;
    }
    Py_RETURN_NONE;
}

static PyObject *core_implementation(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return PyUnicode_FromString(sha256_name());
}

static PyObject *core_use_implementation(PyObject *Py_UNUSED(module), PyObject *object)
{
    struct share_bytes name;
    if (text_argument(object, "name", &name) < 0)
        return NULL;
    if (strlen(name.at) != name.length || !sha256_use(name.at)) {
        PyErr_Format(PyExc_ValueError,
                     "implementation %.80R is not one that this CPU has; give \"portable\", which every CPU has",
                     object);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef core_methods[] = {
    {"sha256d", core_sha256d, METH_O, PyDoc_STR("sha256d(data, /)\n--\n\nDouble SHA-256.")},
    {"merkle_branches", core_merkle_branches, METH_O,
     PyDoc_STR("merkle_branches(txids, /)\n--\n\nBranches for leaf 0, the coinbase.")},
    {"merkle_root", FASTCALL(core_merkle_root), METH_FASTCALL,
     PyDoc_STR("merkle_root(leaf, branches, /)\n--\n\nFold leaf 0 with its branches.")},
    {"scan", FASTCALL(core_scan), METH_FASTCALL,
     PyDoc_STR("scan(header, first_nonce, count, target, /)\n--\n\nFirst nonce that meets the target.")},
    {"implementation", core_implementation, METH_NOARGS,
     PyDoc_STR("implementation()\n--\n\nName of the SHA-256 in use.")},
    {"use_implementation", core_use_implementation, METH_O,
     PyDoc_STR("use_implementation(name, /)\n--\n\nChoose the SHA-256 by name.")},
    {NULL, NULL, 0, NULL},
};

/* --- module ------------------------------------------------------------------------------------ */

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL)
        return -1;
    const int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}

static int core_exec(PyObject *module)
{
    sha256_use_best();
    if (add_type(module, &job_spec) < 0 || add_type(module, &seen_spec) < 0 ||
        PyModule_AddIntConstant(module, "MEETS_SHARE", SHARE_MEETS_SHARE) < 0 ||
        PyModule_AddIntConstant(module, "MEETS_NETWORK", SHARE_MEETS_NETWORK) < 0 ||
        PyModule_AddIntConstant(module, "NTIME_OUTSIDE", SHARE_NTIME_OUTSIDE) < 0 ||
        PyModule_AddIntConstant(module, "VERSION_OUTSIDE", SHARE_VERSION_OUTSIDE) < 0 ||
        PyModule_AddIntConstant(module, "BAD_EXTRANONCE2", SHARE_BAD_EXTRANONCE2) < 0 ||
        PyModule_AddIntConstant(module, "BAD_NTIME", SHARE_BAD_NTIME) < 0 ||
        PyModule_AddIntConstant(module, "BAD_NONCE", SHARE_BAD_NONCE) < 0 ||
        PyModule_AddIntConstant(module, "BAD_VERSION", SHARE_BAD_VERSION) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    {0, NULL},
};

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "native._core",
    .m_doc = "Double SHA-256, merkle branches and the share check.",
    .m_size = 0,
    .m_methods = core_methods,
    .m_slots = core_slots,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
