/*
 * The share check, the nonce scan and the merkle branches.
 *
 * Rule: every length is checked before a byte is read or written, and the order is the one that
 * share.h states; bytes come from miners and may be anything.
 */
#include "share.h"

#include <string.h>

#include "sha256.h"

static inline void store_le32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

/* memcpy that allows (NULL, 0), and says where the copy ended. */
static inline uint8_t *append(uint8_t *to, const void *from, size_t length)
{
    if (length > 0)
        memcpy(to, from, length);
    return to + length;
}

/* Value of a hex digit, or a number above 15. */
static inline unsigned hex_value(uint8_t c)
{
    if ((unsigned)c - '0' < 10)
        return (unsigned)c - '0';
    const unsigned letter = ((unsigned)c | 0x20u) - 'a';
    return letter < 6 ? letter + 10 : 16;
}

static bool parse_hex(struct share_bytes text, uint8_t *out, size_t size)
{
    const uint8_t *at = text.at;
    if (text.length != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        const unsigned high = hex_value(at[2 * i]), low = hex_value(at[2 * i + 1]);
        if ((high | low) > 15)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Big-endian hex of at least `shortest` and at most 8 digits. */
static bool parse_u32(struct share_bytes text, size_t shortest, uint32_t *out)
{
    const uint8_t *at = text.at;
    if (text.length < shortest || text.length > 8)
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        const unsigned digit = hex_value(at[i]);
        if (digit > 15)
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

static inline uint64_t load_le64(const uint8_t *at)
{
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static inline uint64_t load_be64(const uint8_t *at)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

bool share_meets(const uint8_t hash[SHARE_HASH], const uint8_t target[SHARE_HASH])
{
    for (size_t i = 0; i < SHARE_HASH; i += 8) {
        const uint64_t h = load_le64(hash + SHARE_HASH - 8 - i), t = load_be64(target + i);
        if (h != t)
            return h < t;
    }
    return true;
}

enum share_job_error share_job_init(struct share_job *job, struct share_bytes coinbase1,
                                    struct share_bytes coinbase2, struct share_bytes branches,
                                    size_t extranonce2_size)
{
    if (extranonce2_size < 1 || extranonce2_size > SHARE_EXTRANONCE_MAX)
        return SHARE_JOB_EXTRANONCE2_SIZE;
    const size_t room = SHARE_COINBASE_MAX - 2 * SHARE_EXTRANONCE_MAX;
    if (coinbase1.length > room || coinbase2.length > room - coinbase1.length)
        return SHARE_JOB_COINBASE;
    if (branches.length > sizeof job->branches || branches.length % SHARE_HASH != 0)
        return SHARE_JOB_BRANCHES;

    const size_t blocks = coinbase1.length / SHA256_BLOCK;
    job->midstate_length = blocks * SHA256_BLOCK;
    sha256_start(job->midstate);
    sha256_feed(job->midstate, coinbase1.at, blocks);
    job->head_length = coinbase1.length - job->midstate_length;
    if (job->head_length > 0)
        memcpy(job->head, (const uint8_t *)coinbase1.at + job->midstate_length, job->head_length);
    job->coinbase2_length = coinbase2.length;
    append(job->coinbase2, coinbase2.at, coinbase2.length);
    job->extranonce2_size = extranonce2_size;
    job->branch_count = branches.length / SHARE_HASH;
    append(job->branches, branches.at, branches.length);
    return SHARE_JOB_OK;
}

/* The merkle root for one pair of extranonces. */
static void share_root(const struct share_job *job, struct share_bytes extranonce1,
                       const uint8_t *extranonce2, uint8_t root[SHARE_HASH])
{
    uint8_t coinbase[SHARE_COINBASE_MAX];
    uint8_t *end = append(coinbase, job->head, job->head_length);
    end = append(end, extranonce1.at, extranonce1.length);
    end = append(end, extranonce2, job->extranonce2_size);
    end = append(end, job->coinbase2, job->coinbase2_length);
    sha256d_resume(job->midstate, job->midstate_length, coinbase, (size_t)(end - coinbase), root);
    merkle_fold(root, job->branches, job->branch_count);
}

int share_check(const struct share_job *job, const struct share_submit *submit,
                uint8_t header[SHARE_HEADER], uint8_t hash[SHARE_HASH])
{
    uint8_t extranonce2[SHARE_EXTRANONCE_MAX];
    uint32_t ntime, nonce, bits, version = job->version;
    int verdict = 0;

    if (submit->extranonce1.length > SHARE_EXTRANONCE_MAX)
        return SHARE_BAD_EXTRANONCE1;
    if (!parse_hex(submit->extranonce2, extranonce2, job->extranonce2_size))
        return SHARE_BAD_EXTRANONCE2;
    if (!parse_u32(submit->ntime, 8, &ntime))
        return SHARE_BAD_NTIME;
    if (!parse_u32(submit->nonce, 1, &nonce))
        return SHARE_BAD_NONCE;
    if (submit->version_bits.at != NULL) {
        if (!parse_u32(submit->version_bits, 1, &bits))
            return SHARE_BAD_VERSION;
        version = (version & ~job->version_mask) | bits;
        if (bits & ~job->version_mask)
            verdict |= SHARE_VERSION_OUTSIDE;
    }
    if (ntime < job->ntime_min || ntime > job->ntime_max)
        verdict |= SHARE_NTIME_OUTSIDE;

    store_le32(header, version);
    memcpy(header + 4, job->previous_block, SHARE_HASH);
    share_root(job, submit->extranonce1, extranonce2, header + 36);
    store_le32(header + 68, ntime);
    store_le32(header + 72, job->bits);
    store_le32(header + 76, nonce);
    sha256d(header, SHARE_HEADER, hash);

    if (share_meets(hash, submit->target))
        verdict |= SHARE_MEETS_SHARE;
    if (share_meets(hash, job->network_target))
        verdict |= SHARE_MEETS_NETWORK;
    return verdict;
}

bool share_scan(const uint8_t header[SHARE_HEADER], uint32_t first, uint64_t count,
                const uint8_t target[SHARE_HASH], uint32_t *nonce)
{
    uint32_t midstate[8];
    uint8_t rest[SHARE_HEADER - SHA256_BLOCK], hash[SHARE_HASH];
    sha256_start(midstate);
    sha256_feed(midstate, header, 1);
    memcpy(rest, header + SHA256_BLOCK, sizeof rest);
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t candidate = first + (uint32_t)i;
        store_le32(rest + sizeof rest - 4, candidate);
        sha256d_resume(midstate, SHA256_BLOCK, rest, sizeof rest, hash);
        if (share_meets(hash, target)) {
            *nonce = candidate;
            return true;
        }
    }
    return false;
}

void merkle_fold(uint8_t root[SHARE_HASH], const uint8_t *branches, size_t count)
{
    uint8_t pair[2 * SHARE_HASH];
    memcpy(pair, root, SHARE_HASH);
    for (size_t i = 0; i < count; i++) {
        memcpy(pair + SHARE_HASH, branches + i * SHARE_HASH, SHARE_HASH);
        sha256d(pair, sizeof pair, pair);
    }
    memcpy(root, pair, SHARE_HASH);
}

size_t merkle_branches(uint8_t *nodes, size_t count, uint8_t *branches)
{
    size_t written = 0;
    while (count > 0) {
        memcpy(branches + written++ * SHARE_HASH, nodes, SHARE_HASH);
        /* Leaf 0 makes the number of nodes count + 1; when that is odd the last one is its own partner. */
        if (count % 2 == 0) {
            memcpy(nodes + count * SHARE_HASH, nodes + (count - 1) * SHARE_HASH, SHARE_HASH);
            count++;
        }
        count = (count - 1) / 2;
        for (size_t i = 0; i < count; i++)
            sha256d(nodes + (2 * i + 1) * SHARE_HASH, 2 * SHARE_HASH, nodes + i * SHARE_HASH);
    }
    return written;
}
