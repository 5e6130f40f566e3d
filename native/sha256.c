/*
 * SHA-256: a portable path, and one for each CPU extension that does it in hardware.
 *
 * Rule: an extension is switched on for one function only and used only after the CPU has said that it
 * has it, so that one binary runs everywhere. AVX is never switched on: the SHA instructions have no AVX
 * form, and beside dirty upper register halves they crawl.
 * Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.3.3 and 6.2.
 */
#include "sha256.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#define HAVE_SHA_NI 1
#include <cpuid.h>
#include <immintrin.h>
#endif

/* clang offers these intrinsics to single functions only from version 16 on; there the portable path serves. */
#if defined(__AARCH64EL__) && defined(__linux__) && !defined(__clang__)
#define HAVE_ARMV8 1
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

typedef void feed_function(uint32_t state[8], const uint8_t *data, size_t blocks);

static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Big-endian to native and back; one instruction, where shifts of single bytes confuse gcc's vectoriser. */
static inline uint32_t swap_be32(uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap32(value);
#else
    return value;
#endif
}

static inline uint32_t load_be32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return swap_be32(value);
}

static inline void store_be32(uint8_t *at, uint32_t value)
{
    value = swap_be32(value);
    memcpy(at, &value, sizeof value);
}

static inline uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32u - n);
}

/* One round; the caller rotates the names of the eight words instead of moving them. */
#define ROUND(a, b, c, d, e, f, g, h, wk)                                                             \
    do {                                                                                              \
        uint32_t t = (h) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((g) ^ ((e) & ((f) ^ (g)))) + (wk); \
        (d) += t;                                                                                     \
        (h) = t + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (((a) & (b)) | ((c) & ((a) | (b)))); \
    } while (0)

static void feed_portable(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        uint32_t w[64];
        for (size_t i = 0; i < 16; i++)
            w[i] = load_be32(data + 4 * i);
        for (size_t i = 16; i < 64; i++) {
            uint32_t x = w[i - 15], y = w[i - 2];
            w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
                   (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (size_t i = 0; i < 64; i += 8) {
            ROUND(a, b, c, d, e, f, g, h, w[i] + K[i]);
            ROUND(h, a, b, c, d, e, f, g, w[i + 1] + K[i + 1]);
            ROUND(g, h, a, b, c, d, e, f, w[i + 2] + K[i + 2]);
            ROUND(f, g, h, a, b, c, d, e, w[i + 3] + K[i + 3]);
            ROUND(e, f, g, h, a, b, c, d, w[i + 4] + K[i + 4]);
            ROUND(d, e, f, g, h, a, b, c, w[i + 5] + K[i + 5]);
            ROUND(c, d, e, f, g, h, a, b, w[i + 6] + K[i + 6]);
            ROUND(b, c, d, e, f, g, h, a, w[i + 7] + K[i + 7]);
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

#ifdef HAVE_SHA_NI

static bool cpu_has_sha_ni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

/* Four rounds on the words w with the constants from K[i]. */
#define ROUNDS4(w, i)                                                                                 \
    do {                                                                                              \
        __m128i wk = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(const void *)(K + (i))));     \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);                                                 \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));                        \
    } while (0)

/* Replace the words w0 by the four that follow w3 in the message schedule. */
#define SCHEDULE4(w0, w1, w2, w3)                                                                     \
    (w0) = _mm_sha256msg2_epu32(                                                                      \
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)

#define SCHEDULE_AND_ROUNDS16(i)                                                                      \
    do {                                                                                              \
        SCHEDULE4(w0, w1, w2, w3);                                                                    \
        ROUNDS4(w0, (i));                                                                             \
        SCHEDULE4(w1, w2, w3, w0);                                                                    \
        ROUNDS4(w1, (i) + 4);                                                                         \
        SCHEDULE4(w2, w3, w0, w1);                                                                    \
        ROUNDS4(w2, (i) + 8);                                                                         \
        SCHEDULE4(w3, w0, w1, w2);                                                                    \
        ROUNDS4(w3, (i) + 12);                                                                        \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3")))
static inline __m128i load_words(const uint8_t *at)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)at), big_endian);
}

__attribute__((target("sha,sse4.1,ssse3")))
static void feed_sha_ni(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    __m128i *const low = (__m128i *)(void *)state, *const high = (__m128i *)(void *)(state + 4);
    /* The instructions want the words as a,b,e,f and c,d,g,h, first word highest. */
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(low), 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(high), 0x1b);
    __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
    __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);

    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w0 = load_words(data), w1 = load_words(data + 16);
        __m128i w2 = load_words(data + 32), w3 = load_words(data + 48);
        ROUNDS4(w0, 0);
        ROUNDS4(w1, 4);
        ROUNDS4(w2, 8);
        ROUNDS4(w3, 12);
        SCHEDULE_AND_ROUNDS16(16);
        SCHEDULE_AND_ROUNDS16(32);
        SCHEDULE_AND_ROUNDS16(48);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }

    __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128(low, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(high, _mm_alignr_epi8(dchg, feba, 8));
}

#endif

#ifdef HAVE_ARMV8

static bool cpu_has_armv8_sha2(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}

__attribute__((target("+crypto")))
static void feed_armv8(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        const uint32x4_t abcd_before = abcd, efgh_before = efgh;
        uint32x4_t w[4];
        for (size_t i = 0; i < 4; i++)
            w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        for (size_t i = 0; i < 16; i++) {
            const uint32x4_t wk = vaddq_u32(w[0], vld1q_u32(K + 4 * i)), abcd_old = abcd;
            abcd = vsha256hq_u32(abcd, efgh, wk);
            efgh = vsha256h2q_u32(efgh, abcd_old, wk);
            const uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next; /* the last four are never used */
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

#endif

static bool always(void)
{
    return true;
}

struct implementation {
    const char *name;
    bool (*available)(void);
    feed_function *feed;
};

/* Fastest first. */
static const struct implementation IMPLEMENTATIONS[] = {
#ifdef HAVE_SHA_NI
    {"sha-ni", cpu_has_sha_ni, feed_sha_ni},
#endif
#ifdef HAVE_ARMV8
    {"armv8", cpu_has_armv8_sha2, feed_armv8},
#endif
    {"portable", always, feed_portable},
};

#define IMPLEMENTATION_COUNT (sizeof IMPLEMENTATIONS / sizeof IMPLEMENTATIONS[0])

static _Atomic(const struct implementation *) in_use = &IMPLEMENTATIONS[IMPLEMENTATION_COUNT - 1];

static inline const struct implementation *current(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed);
}

void sha256_use_best(void)
{
    const struct implementation *best = IMPLEMENTATIONS;
    while (!best->available())
        best++;
    atomic_store_explicit(&in_use, best, memory_order_relaxed);
}

bool sha256_use(const char *name)
{
    for (size_t i = 0; i < IMPLEMENTATION_COUNT; i++) {
        if (strcmp(IMPLEMENTATIONS[i].name, name) == 0 && IMPLEMENTATIONS[i].available()) {
            atomic_store_explicit(&in_use, &IMPLEMENTATIONS[i], memory_order_relaxed);
            return true;
        }
    }
    return false;
}

const char *sha256_name(void)
{
    return current()->name;
}

void sha256_start(uint32_t state[8])
{
    memcpy(state, INITIAL, sizeof INITIAL);
}

void sha256_feed(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    current()->feed(state, data, blocks);
}

static inline void store_state(uint8_t *at, const uint32_t state[8])
{
    for (size_t i = 0; i < 8; i++)
        store_be32(at + 4 * i, state[i]);
}

void sha256d_resume(const uint32_t state[8], uint64_t done, const uint8_t *rest, size_t length,
                    uint8_t digest[SHA256_DIGEST])
{
    feed_function *const feed = current()->feed;
    const uint64_t bits = (done + length) * 8;
    const size_t whole = length / SHA256_BLOCK, left = length % SHA256_BLOCK;
    uint32_t inner[8], outer[8];
    memcpy(inner, state, sizeof inner);
    if (whole > 0)
        feed(inner, rest, whole);

    /* The last block: what is left, a one bit, zeros, the length in bits; two blocks if it does not fit. */
    uint8_t last[2 * SHA256_BLOCK] = {0};
    const size_t blocks = left + 9 > SHA256_BLOCK ? 2 : 1;
    if (left > 0)
        memcpy(last, rest + whole * SHA256_BLOCK, left);
    last[left] = 0x80;
    store_be32(last + blocks * SHA256_BLOCK - 8, (uint32_t)(bits >> 32));
    store_be32(last + blocks * SHA256_BLOCK - 4, (uint32_t)bits);
    feed(inner, last, blocks);

    uint8_t second[SHA256_BLOCK] = {[SHA256_DIGEST] = 0x80, [SHA256_BLOCK - 2] = SHA256_DIGEST * 8 >> 8};
    store_state(second, inner);
    sha256_start(outer);
    feed(outer, second, 1);
    store_state(digest, outer);
}

void sha256d(const uint8_t *data, size_t length, uint8_t digest[SHA256_DIGEST])
{
    sha256d_resume(INITIAL, 0, data, length, digest);
}
