/*
 * Runs the pure C files without Python, for the sanitizers and for other CPUs.
 *
 * Known vectors, a slow and simple second way of computing, and malformed input in buffers of exactly its
 * size, so that one byte read too far is seen. Prints a digest that the test computes again with hashlib.
 * Exits 1 at the first difference. The linker wraps calloc so that it can be made to fail.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seen.h"
#include "sha256.h"
#include "share.h"

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool no_memory = false;

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

static uint64_t random_state = 1;

/* xorshift64*: the same numbers on every machine. */
static uint32_t random_u32(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * 0x2545f4914f6cdd1d >> 32);
}

static size_t random_below(size_t limit)
{
    return random_u32() % limit;
}

static void random_fill(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)random_u32();
}

/* A copy in a block of exactly its length, where the sanitizer sees every byte beyond. */
static struct share_bytes exact(const void *from, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    REQUIRE(copy != NULL);
    if (length > 0)
        memcpy(copy, from, length);
    return (struct share_bytes){copy, length};
}

static struct share_bytes exact_random(size_t length)
{
    uint8_t bytes[SHARE_COINBASE_MAX + 64];
    REQUIRE(length <= sizeof bytes);
    random_fill(bytes, length);
    return exact(bytes, length);
}

static void release(struct share_bytes bytes)
{
    free((void *)(uintptr_t)bytes.at);
}

static void print_hex(const uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        printf("%02x", at[i]);
    printf("\n");
}

/* Each digest adds seven bytes to the message: every remainder of the block length comes up. */
static void test_chain(size_t rounds)
{
    uint8_t digest[32];
    struct share_bytes message = exact("", 0);
    for (size_t i = 0; i < rounds; i++) {
        sha256d(message.at, message.length, digest);
        uint8_t *longer = malloc(message.length + 7);
        REQUIRE(longer != NULL);
        if (message.length > 0)
            memcpy(longer, message.at, message.length);
        memcpy(longer + message.length, digest, 7);
        release(message);
        message = (struct share_bytes){longer, message.length + 7};
    }
    release(message);
    printf("%s ", sha256_name());
    print_hex(digest, sizeof digest);
}

static void test_genesis(void)
{
    uint8_t header[SHARE_HEADER] = {
        1, [36] = 0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f,
        0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a,
        0x29, 0xab, 0x5f, 0x49, 0xff, 0xff, 0x00, 0x1d, 0x1d, 0xac, 0x2b, 0x7c,
    };
    static const uint8_t expected[SHARE_HASH] = {
        0x6f, 0xe2, 0x8c, 0x0a, 0xb6, 0xf1, 0xb3, 0x72, 0xc1, 0xa6, 0xa2, 0x46, 0xae, 0x63, 0xf7, 0x4f,
        0x93, 0x1e, 0x83, 0x65, 0xe1, 0x5a, 0x08, 0x9c, 0x68, 0xd6, 0x19,
    };
    static const uint8_t target[SHARE_HASH] = {[4] = 0xff, 0xff};
    uint8_t hash[SHARE_HASH];
    uint32_t nonce = 0;
    sha256d(header, sizeof header, hash);
    REQUIRE(memcmp(hash, expected, sizeof hash) == 0);
    REQUIRE(share_meets(hash, target));
    REQUIRE(share_scan(header, 2083236893u - 3000, 3001, target, &nonce) && nonce == 2083236893u);
    REQUIRE(!share_scan(header, 2083236893u - 3000, 3000, target, &nonce));
    REQUIRE(!share_scan(header, UINT32_MAX, 1, target, &nonce));
}

/* Equal, one above, one below, at every byte. */
static void test_targets(void)
{
    for (size_t round = 0; round < 1000; round++) {
        uint8_t target[SHARE_HASH], hash[SHARE_HASH];
        random_fill(target, sizeof target);
        for (size_t i = 0; i < SHARE_HASH; i++)
            hash[SHARE_HASH - 1 - i] = target[i];
        REQUIRE(share_meets(hash, target));
        const size_t at = random_below(SHARE_HASH);
        hash[at]++;
        REQUIRE(share_meets(hash, target) == (hash[at] == 0));
        hash[at] = (uint8_t)(hash[at] - 2);
        REQUIRE(share_meets(hash, target) == (hash[at] != 255));
    }
}

/* Whole levels, kept apart, against branches folded. */
static void test_merkle(size_t most)
{
    for (size_t leaves = 1; leaves <= most; leaves++) {
        uint8_t branches[64 * SHARE_HASH], root[SHARE_HASH];
        uint8_t *level = malloc((leaves + 1) * SHARE_HASH), *nodes = malloc(leaves * SHARE_HASH);
        REQUIRE(level != NULL && nodes != NULL);
        random_fill(level, leaves * SHARE_HASH);
        memcpy(root, level, SHARE_HASH);
        memcpy(nodes, level + SHARE_HASH, (leaves - 1) * SHARE_HASH);
        merkle_fold(root, branches, merkle_branches(nodes, leaves - 1, branches));
        for (size_t count = leaves; count > 1; count = (count + 1) / 2) {
            if (count % 2 == 1)
                memcpy(level + count * SHARE_HASH, level + (count - 1) * SHARE_HASH, SHARE_HASH);
            for (size_t i = 0; i < (count + 1) / 2; i++)
                sha256d(level + 2 * i * SHARE_HASH, 2 * SHARE_HASH, level + i * SHARE_HASH);
        }
        REQUIRE(memcmp(root, level, SHARE_HASH) == 0);
        free(level);
        free(nodes);
    }
}

static struct share_bytes random_hex(size_t digits, uint8_t *value)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    char text[2 * SHARE_EXTRANONCE_MAX];
    random_fill(value, digits / 2);
    for (size_t i = 0; i < digits; i++) {
        const unsigned nibble = i % 2 == 0 ? value[i / 2] >> 4 : value[i / 2] & 15u;
        text[i] = random_below(2) == 0 ? lower[nibble] : upper[nibble];
    }
    return exact(text, digits);
}

static void reverse(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = from[length - 1 - i];
}

/* A random job and a good submit, and the same header put together in the plainest way. */
static void test_good_submit(void)
{
    static struct share_job job;
    const size_t room = SHARE_COINBASE_MAX - 2 * SHARE_EXTRANONCE_MAX;
    const size_t first = random_below(8) == 0 ? room : random_below(300);
    const size_t second = random_below(8) == 0 ? room - first : random_below(300) % (room - first + 1);
    struct share_bytes coinbase1 = exact_random(first), coinbase2 = exact_random(second);
    struct share_bytes branches = exact_random(random_below(SHARE_BRANCHES_MAX + 1) * SHARE_HASH);
    const size_t size = 1 + random_below(SHARE_EXTRANONCE_MAX);
    REQUIRE(share_job_init(&job, coinbase1, coinbase2, branches, size) == SHARE_JOB_OK);
    job.version = random_u32();
    job.version_mask = random_u32();
    job.bits = random_u32();
    job.ntime_min = 0;
    job.ntime_max = UINT32_MAX;
    random_fill(job.previous_block, SHARE_HASH);
    memset(job.network_target, 0xff, SHARE_HASH);

    uint8_t extranonce2[SHARE_EXTRANONCE_MAX], ntime[4], nonce[4], header[SHARE_HEADER], hash[SHARE_HASH];
    struct share_bytes target = exact_random(SHARE_HASH);
    struct share_submit submit = {
        .extranonce1 = exact_random(random_below(SHARE_EXTRANONCE_MAX + 1)),
        .extranonce2 = random_hex(2 * size, extranonce2),
        .ntime = random_hex(8, ntime),
        .nonce = random_hex(8, nonce),
        .version_bits = {NULL, 0},
        .target = target.at,
    };
    const int verdict = share_check(&job, &submit, header, hash);

    uint8_t whole[SHARE_COINBASE_MAX], *end = whole, plain[SHARE_HEADER] = {0}, plain_hash[SHARE_HASH];
    const struct share_bytes parts[] = {coinbase1, submit.extranonce1, {extranonce2, size}, coinbase2};
    for (size_t i = 0; i < 4; i++) {
        memcpy(end, parts[i].at, parts[i].length);
        end += parts[i].length;
    }
    sha256d(whole, (size_t)(end - whole), plain + 36);
    merkle_fold(plain + 36, branches.at, branches.length / SHARE_HASH);
    for (unsigned i = 0; i < 4; i++) {
        plain[i] = (uint8_t)(job.version >> 8 * i);
        plain[72 + i] = (uint8_t)(job.bits >> 8 * i);
    }
    memcpy(plain + 4, job.previous_block, SHARE_HASH);
    reverse(plain + 68, ntime, 4);
    reverse(plain + 76, nonce, 4);
    sha256d(plain, sizeof plain, plain_hash);
    REQUIRE(memcmp(header, plain, sizeof header) == 0);
    REQUIRE(memcmp(hash, plain_hash, sizeof hash) == 0);
    REQUIRE((verdict | SHARE_MEETS_SHARE) == (SHARE_MEETS_NETWORK | SHARE_MEETS_SHARE));

    release(coinbase1);
    release(coinbase2);
    release(branches);
    release(target);
    release(submit.extranonce1);
    release(submit.extranonce2);
    release(submit.ntime);
    release(submit.nonce);
}

/* Text of any length up to 40: digits, digits with one fault, or noise. */
static struct share_bytes rotten(void)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    uint8_t text[40];
    const size_t length = random_below(5) == 0 ? random_below(sizeof text + 1) : 8;
    const size_t kind = random_below(4);
    for (size_t i = 0; i < length; i++)
        text[i] = kind == 0 ? (uint8_t)random_u32() : (uint8_t)digits[random_below(sizeof digits - 1)];
    if (kind == 1 && length > 0)
        text[random_below(length)] = (uint8_t)random_u32();
    return exact(text, length);
}

static bool is_hex(struct share_bytes text, size_t shortest, size_t longest)
{
    const char *at = text.at;
    for (size_t i = 0; i < text.length; i++) {
        if (at[i] == 0 || strchr("0123456789abcdefABCDEF", at[i]) == NULL)
            return false;
    }
    return text.length >= shortest && text.length <= longest;
}

static void test_rotten_submit(const struct share_job *job)
{
    static const uint8_t target[SHARE_HASH] = {0};
    uint8_t header[SHARE_HEADER], hash[SHARE_HASH];
    struct share_submit submit = {
        .extranonce1 = exact_random(random_below(SHARE_EXTRANONCE_MAX + 2)),
        .extranonce2 = rotten(),
        .ntime = rotten(),
        .nonce = rotten(),
        .version_bits = rotten(),
        .target = target,
    };
    int expected = 0;
    if (submit.extranonce1.length > SHARE_EXTRANONCE_MAX)
        expected = SHARE_BAD_EXTRANONCE1;
    else if (!is_hex(submit.extranonce2, 2 * job->extranonce2_size, 2 * job->extranonce2_size))
        expected = SHARE_BAD_EXTRANONCE2;
    else if (!is_hex(submit.ntime, 8, 8))
        expected = SHARE_BAD_NTIME;
    else if (!is_hex(submit.nonce, 1, 8))
        expected = SHARE_BAD_NONCE;
    else if (!is_hex(submit.version_bits, 1, 8))
        expected = SHARE_BAD_VERSION;
    const int verdict = share_check(job, &submit, header, hash);
    REQUIRE(expected < 0 ? verdict == expected : verdict >= 0);
    release(submit.extranonce1);
    release(submit.extranonce2);
    release(submit.ntime);
    release(submit.nonce);
    release(submit.version_bits);
}

static void test_job_bounds(struct share_job *job)
{
    const struct share_bytes none = {NULL, 0};
    struct share_bytes long_one = exact_random(SHARE_COINBASE_MAX);
    struct share_bytes part = {long_one.at, SHARE_COINBASE_MAX - 2 * SHARE_EXTRANONCE_MAX};
    struct share_bytes one = {long_one.at, 1}, many = {long_one.at, (SHARE_BRANCHES_MAX + 1) * SHARE_HASH};
    REQUIRE(share_job_init(job, part, one, none, 4) == SHARE_JOB_COINBASE);
    REQUIRE(share_job_init(job, one, part, none, 4) == SHARE_JOB_COINBASE);
    REQUIRE(share_job_init(job, long_one, none, none, 4) == SHARE_JOB_COINBASE);
    REQUIRE(share_job_init(job, none, none, many, 4) == SHARE_JOB_BRANCHES);
    REQUIRE(share_job_init(job, none, none, one, 4) == SHARE_JOB_BRANCHES);
    REQUIRE(share_job_init(job, none, none, none, 0) == SHARE_JOB_EXTRANONCE2_SIZE);
    REQUIRE(share_job_init(job, none, none, none, 17) == SHARE_JOB_EXTRANONCE2_SIZE);
    REQUIRE(share_job_init(job, part, none, none, 4) == SHARE_JOB_OK);
    release(long_one);
}

/* Keys 0 to 65535 in random order, spread over the 64 bits, against a table of flags. */
static void test_seen(size_t rounds)
{
    static bool flags[65536];
    struct seen set;
    size_t count = 0;
    memset(flags, 0, sizeof flags);
    seen_init(&set);
    for (size_t i = 0; i < rounds; i++) {
        const size_t key = random_below(65536);
        REQUIRE(seen_add(&set, key * 0x9e3779b97f4a7c15) == (flags[key] ? SEEN_BEFORE : SEEN_NEW));
        count += flags[key] ? 0 : 1;
        flags[key] = true;
        REQUIRE(seen_count(&set) == count);
    }
    seen_clear(&set);
    REQUIRE(seen_count(&set) == 0 && seen_add(&set, 5) == SEEN_NEW);
    seen_clear(&set);
}

/* Without memory a set says so, keeps what it has, and goes on when there is memory again. */
static void test_seen_without_memory(void)
{
    struct seen set;
    uint64_t key = 1;
    seen_init(&set);
    no_memory = true;
    REQUIRE(seen_add(&set, key) == SEEN_NO_MEMORY && seen_count(&set) == 0);
    REQUIRE(seen_add(&set, 0) == SEEN_NEW && seen_add(&set, 0) == SEEN_BEFORE);
    no_memory = false;
    REQUIRE(seen_add(&set, key) == SEEN_NEW);
    no_memory = true;
    while (seen_add(&set, key + 1) == SEEN_NEW)
        key++;
    for (uint64_t i = 0; i <= key; i++)
        REQUIRE(seen_add(&set, i) == SEEN_BEFORE);
    REQUIRE(seen_count(&set) == key + 1);
    no_memory = false;
    REQUIRE(seen_add(&set, key + 1) == SEEN_NEW);
    seen_clear(&set);
}

static void test_all(size_t scale)
{
    static struct share_job job;
    test_chain(600);
    test_genesis();
    test_targets();
    test_merkle(70);
    for (size_t i = 0; i < 20 * scale; i++)
        test_good_submit();
    test_job_bounds(&job);
    for (size_t i = 0; i < 200 * scale; i++)
        test_rotten_submit(&job);
}

int main(int count, char **arguments)
{
    REQUIRE(count == 2);
    const size_t scale = strtoul(arguments[1], NULL, 10);
    REQUIRE(strcmp(sha256_name(), "portable") == 0);
    REQUIRE(!sha256_use("no such thing"));
    test_all(scale);
    sha256_use_best();
    if (strcmp(sha256_name(), "portable") != 0)
        test_all(scale);
    test_seen(1000 * scale);
    test_seen_without_memory();
    printf("done\n");
    return 0;
}
