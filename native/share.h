/*
 * The share check: a job and the fields of mining.submit in, the verdict and the block header out.
 *
 * Not for: deciding what a verdict means (stale, duplicate, low difficulty), difficulty, or JSON.
 * Rule: targets are compared as 256-bit integers; nothing is allocated; a job is read-only after
 * share_job_init, so any number of threads may check against it. No Python here.
 * Words: hashes are 32 bytes in internal (header) order, targets are 32 bytes big-endian, a hash meets a
 * target when, as a number, it is not above it.
 * Sources: the Stratum V1 submit as miners send it, BIP310 (version bits), BIP34/141 (coinbase without
 * witness is what the merkle tree hashes).
 */
#ifndef DMPOOL_SHARE_H
#define DMPOOL_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_HEADER 80u
#define SHARE_HASH 32u
#define SHARE_COINBASE_MAX 4096u  /* bytes, both extranonces at their largest included */
#define SHARE_EXTRANONCE_MAX 16u  /* bytes, each */
#define SHARE_BRANCHES_MAX 32u

/* What a well-formed submit says: a set of bits. */
enum share_verdict {
    SHARE_MEETS_SHARE = 1,
    SHARE_MEETS_NETWORK = 2,
    SHARE_NTIME_OUTSIDE = 4,   /* before ntime_min or after ntime_max */
    SHARE_VERSION_OUTSIDE = 8, /* version bits outside the mask */
};

/* Why a submit could not be read: the first field that is wrong, in the order of checking. */
enum share_malformed {
    SHARE_BAD_EXTRANONCE2 = -1, /* not exactly 2 * extranonce2_size hex digits */
    SHARE_BAD_NTIME = -2,       /* not exactly 8 hex digits */
    SHARE_BAD_NONCE = -3,       /* not 1 to 8 hex digits */
    SHARE_BAD_VERSION = -4,     /* not 1 to 8 hex digits */
    SHARE_BAD_EXTRANONCE1 = -5, /* longer than SHARE_EXTRANONCE_MAX: the caller's error, not the miner's */
};

enum share_job_error { SHARE_JOB_OK, SHARE_JOB_COINBASE, SHARE_JOB_EXTRANONCE2_SIZE, SHARE_JOB_BRANCHES };

struct share_job {
    uint32_t midstate[8]; /* after the whole 64-byte blocks of coinbase1 */
    size_t midstate_length;
    size_t head_length, coinbase2_length;
    size_t extranonce2_size;
    size_t branch_count;
    uint32_t version, version_mask, bits, ntime_min, ntime_max;
    uint8_t previous_block[SHARE_HASH];
    uint8_t network_target[SHARE_HASH];
    uint8_t branches[SHARE_BRANCHES_MAX * SHARE_HASH];
    uint8_t head[64]; /* what is left of coinbase1 after the midstate */
    uint8_t coinbase2[SHARE_COINBASE_MAX];
};

/* Bytes that belong to somebody else and need not end in NUL. */
struct share_bytes {
    const void *at;
    size_t length;
};

/*
 * Set the parts of a job that need work or checking; the caller fills in version, version_mask, bits,
 * ntime_min, ntime_max, previous_block and network_target. `branches` is a multiple of 32 bytes long.
 */
enum share_job_error share_job_init(struct share_job *job, struct share_bytes coinbase1,
                                    struct share_bytes coinbase2, struct share_bytes branches,
                                    size_t extranonce2_size);

struct share_submit {
    struct share_bytes extranonce1;  /* raw bytes */
    struct share_bytes extranonce2;  /* this and the rest: hex text, either case */
    struct share_bytes ntime;        /* big-endian hex */
    struct share_bytes nonce;        /* big-endian hex, a short one is padded with zeros on the left */
    struct share_bytes version_bits; /* big-endian hex; at == NULL when not sent */
    const uint8_t *target;           /* share target, 32 bytes big-endian */
};

/*
 * Judge one submit: bits of enum share_verdict (>= 0), or enum share_malformed (< 0, header and hash
 * untouched). The header is hashed even when ntime or version is outside, with
 * version = (job version & ~mask) | bits, so that no block is missed for a lesser fault (I9).
 */
int share_check(const struct share_job *job, const struct share_submit *submit,
                uint8_t header[SHARE_HEADER], uint8_t hash[SHARE_HASH]);

/* Whether the hash, as a number, is not above the target. */
bool share_meets(const uint8_t hash[SHARE_HASH], const uint8_t target[SHARE_HASH]);

/*
 * First nonce in [first, first + count) whose header hash meets the target; false if there is none.
 * Precondition: first + count <= 2**32. The nonce bytes of `header` are ignored.
 */
bool share_scan(const uint8_t header[SHARE_HEADER], uint32_t first, uint64_t count,
                const uint8_t target[SHARE_HASH], uint32_t *nonce);

/* Root of the tree whose leaf 0 is `root` on entry, folded in place with `count` branches. */
void merkle_fold(uint8_t root[SHARE_HASH], const uint8_t *branches, size_t count);

/*
 * Branches for leaf 0 of a tree whose other leaves are the `count` hashes in `nodes` (overwritten; needs
 * room for count + 1). Writes at most 64 branches and returns their number.
 */
size_t merkle_branches(uint8_t *nodes, size_t count, uint8_t *branches);

#endif
