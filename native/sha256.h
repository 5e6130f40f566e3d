/*
 * SHA-256 as Bitcoin uses it: whole 64-byte blocks, midstates, and the double hash.
 *
 * Not for: streaming APIs, HMAC, or anything that needs constant time. No Python here.
 * Rule: every function is a pure function of its arguments and safe to call from any thread; the one
 * shared thing is the choice of implementation, an atomic pointer, and all choices give equal results.
 * Source: FIPS 180-4 (SHA-256).
 */
#ifndef DMPOOL_SHA256_H
#define DMPOOL_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BLOCK 64u
#define SHA256_DIGEST 32u

/* Choose the fastest implementation this CPU has; until then the portable one is used. */
void sha256_use_best(void);

/* Choose by name ("portable", "sha-ni", "armv8"); false, and nothing changed, if this CPU lacks it. */
bool sha256_use(const char *name);

/* Name of the implementation in use. */
const char *sha256_name(void);

/* The state before the first block. */
void sha256_start(uint32_t state[8]);

/* Feed `blocks` whole 64-byte blocks into the state. */
void sha256_feed(uint32_t state[8], const uint8_t *data, size_t blocks);

/* Double SHA-256 of a message whose first `done` bytes (a multiple of 64) are already in `state`. */
void sha256d_resume(const uint32_t state[8], uint64_t done, const uint8_t *rest, size_t length,
                    uint8_t digest[SHA256_DIGEST]);

/* Double SHA-256 of `length` bytes. */
void sha256d(const uint8_t *data, size_t length, uint8_t digest[SHA256_DIGEST]);

#endif
