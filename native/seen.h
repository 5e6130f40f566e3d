/*
 * A set of 64-bit keys that only grows: which share hashes have been seen on a job.
 *
 * Not for: deleting, iterating, or untrusted keys without work behind them (a key is part of a hash that
 * met a share target, so steering keys into one corner of the table costs more than it could harm).
 * Rule: at most half full, so a look-up ends; an allocation that fails changes nothing. No Python here.
 */
#ifndef DMPOOL_SEEN_H
#define DMPOOL_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen {
    uint64_t *slots; /* 0 marks a free slot; NULL until the first key */
    size_t capacity; /* number of slots, a power of two, or 0 */
    size_t used;     /* slots taken */
    bool has_zero;   /* the key 0, which no slot can hold */
};

enum seen_result { SEEN_NO_MEMORY = -1, SEEN_BEFORE = 0, SEEN_NEW = 1 };

/* An empty set; takes no memory until the first key. */
void seen_init(struct seen *set);

/* Free the memory; the set is empty again and may be used again. */
void seen_clear(struct seen *set);

/* Add a key and say whether it is new. */
enum seen_result seen_add(struct seen *set, uint64_t key);

/* Number of keys. */
size_t seen_count(const struct seen *set);

#endif
