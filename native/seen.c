/*
 * The set of seen share hashes: open addressing with linear probing.
 *
 * Rule: keys come from SHA-256 and are spread already, so their low bits are the hash of the table.
 */
#include "seen.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64u

void seen_init(struct seen *set)
{
    *set = (struct seen){0};
}

void seen_clear(struct seen *set)
{
    free(set->slots);
    seen_init(set);
}

size_t seen_count(const struct seen *set)
{
    return set->used + (set->has_zero ? 1 : 0);
}

/* The slot that holds the key, or the free slot where it belongs. */
static uint64_t *find(uint64_t *slots, size_t capacity, uint64_t key)
{
    size_t at = (size_t)key & (capacity - 1);
    while (slots[at] != 0 && slots[at] != key)
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool grow(struct seen *set)
{
    if (set->capacity > SIZE_MAX / 2 / sizeof(uint64_t))
        return false;
    const size_t capacity = set->capacity == 0 ? FIRST_CAPACITY : set->capacity * 2;
    uint64_t *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->slots[i] != 0)
            *find(slots, capacity, set->slots[i]) = set->slots[i];
    }
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return true;
}

enum seen_result seen_add(struct seen *set, uint64_t key)
{
    if (key == 0) {
        const bool before = set->has_zero;
        set->has_zero = true;
        return before ? SEEN_BEFORE : SEEN_NEW;
    }
    if (set->capacity > 0 && *find(set->slots, set->capacity, key) == key)
        return SEEN_BEFORE;
    if (set->used >= set->capacity / 2 && !grow(set))
        return SEEN_NO_MEMORY;
    *find(set->slots, set->capacity, key) = key;
    set->used++;
    return SEEN_NEW;
}
