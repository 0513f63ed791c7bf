/* Two slots of weights and two of what was learnt. A slot counts once its last bytes, with a CRC of all of it, are
 * there; the other is not touched until then, so that a power cut at any byte leaves one that loads. */
#include <string.h>

#include "acc_internal.h"

enum { UNIT = 32, PIECE = 64 };

uint32_t acc_crc(uint32_t crc, const void *bytes, uint32_t count) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const uint8_t *p = bytes;
    crc = ~crc;
    while (count--) {
        crc = (crc >> 4) ^ table[(crc ^ *p) & 15u];
        crc = (crc >> 4) ^ table[(crc ^ (uint32_t)(*p++ >> 4)) & 15u];
    }
    return ~crc;
}

/* What ends a slot of weights, and begins a slot of what was learnt. */
typedef struct {
    uint32_t magic, sequence, length, crc; /* of weights: counter; crc of all else */
    uint8_t release[16];                   /* the first bytes of the content hash */
} mark;
static const uint32_t WEIGHTS = 0x31424341u, LEARNT = 0x31534341u;

static uint32_t pages(uint32_t bytes, uint32_t page) { return (bytes + page - 1) / page * page; }
static uint32_t units(uint32_t bytes) { return (bytes + UNIT - 1) / UNIT * UNIT; }
static uint32_t blob_slot(uint32_t page) { return pages(units(ACC_BLOB_BYTES) + UNIT, page); }
static uint32_t state_slot(uint32_t page) { return pages(UNIT + units(sizeof(acc_learned)), page); }
uint32_t acc_flash_bytes(uint32_t page) { return 2 * blob_slot(page) + 2 * state_slot(page); }
static uint32_t state_at(const acc_device *d, uint32_t slot) {
    const uint32_t page = d->config.flash.page;
    return 2 * blob_slot(page) + slot * state_slot(page);
}

/* ---- weights */

static int header_fits(const acc_header *header, uint32_t length) {
    if (length < ACC_HEADER_BYTES || memcmp(header->magic, "ACB1", 4) != 0 || header->header_bytes != ACC_HEADER_BYTES)
        return ACC_TRUNCATED;
    if (memcmp(header->topology, acc_topology, sizeof header->topology) != 0) return ACC_TOPOLOGY;
    if (header->numbers != ACC_NUMBERS || length != ACC_BLOB_BYTES || header->name[sizeof header->name - 1])
        return ACC_TRUNCATED;
    return ACC_OK;
}

int acc_check(const acc_device *d, const uint8_t *blob, uint32_t length) {
    acc_header header;
    if (length < sizeof header) return ACC_TRUNCATED;
    memcpy(&header, blob, sizeof header);
    const int fits = header_fits(&header, length);
    if (fits) return fits;
    if (d->blob && header.counter <= acc_counter(d)) return ACC_OLD;
    if (!d->config.verify || !d->config.key ||
        d->config.verify(blob + length - ACC_SIGNATURE_BYTES, d->config.key, blob, length - ACC_SIGNATURE_BYTES) != 1)
        return ACC_SIGNATURE;
    return ACC_OK;
}

/* Whether numbers can be read where they lie: a Cortex-M0+ faults at others. */
static int aligned(const uint8_t *blob) { return ((uintptr_t)blob & 3u) == 0; }

/* The weights in a slot, or 0. */
static const uint8_t *accepted(const acc_device *d, uint32_t slot) {
    const acc_flash *flash = &d->config.flash;
    const uint32_t at = slot * blob_slot(flash->page);
    mark end;
    acc_header header;
    if (flash->read(flash->context, at + blob_slot(flash->page) - UNIT, &end, sizeof end)) return 0;
    if (end.magic != WEIGHTS || end.length != ACC_BLOB_BYTES) return 0;
    const uint8_t *blob = flash->map(flash->context, at, ACC_BLOB_BYTES);
    if (!blob || !aligned(blob) || acc_crc(0, blob, ACC_BLOB_BYTES) != end.crc) return 0;
    memcpy(&header, blob, sizeof header);
    return header_fits(&header, ACC_BLOB_BYTES) || header.counter != end.sequence ? 0 : blob;
}

static uint32_t counter_of(const uint8_t *blob) {
    uint32_t counter;
    memcpy(&counter, blob + offsetof(acc_header, counter), sizeof counter);
    return counter;
}

const uint8_t *acc_newest(const acc_device *d) {
    const uint8_t *found = 0;
    acc_header header;
    if (d->config.factory && aligned(d->config.factory) && d->config.factory_bytes >= sizeof header) {
        memcpy(&header, d->config.factory, sizeof header);
        if (!header_fits(&header, d->config.factory_bytes)) found = d->config.factory;
    }
    for (uint32_t slot = 0; d->config.flash.page && slot < 2; slot++) {
        const uint8_t *blob = accepted(d, slot);
        if (blob && (!found || counter_of(blob) > counter_of(found))) found = blob;
    }
    return found;
}

int acc_update_begin(acc_device *d, uint32_t length) {
    const acc_flash *flash = &d->config.flash;
    d->incoming.length = 0;
    if (!flash->page) return ACC_FLASH;
    if (length != ACC_BLOB_BYTES) return length < ACC_BLOB_BYTES ? ACC_TRUNCATED : ACC_TOPOLOGY;
    const uint8_t *first = flash->map(flash->context, 0, ACC_BLOB_BYTES);
    d->incoming.slot = d->blob && d->blob == first ? 1u : 0u;
    if (flash->erase(flash->context, d->incoming.slot * blob_slot(flash->page), blob_slot(flash->page))) return ACC_FLASH;
    d->incoming.length = length;
    d->incoming.at = 0;
    return ACC_OK;
}

int acc_update_write(acc_device *d, const uint8_t *bytes, uint32_t count) {
    const acc_flash *flash = &d->config.flash;
    acc_incoming *in = &d->incoming;
    if (!in->length || count > in->length - in->at) return ACC_TRUNCATED;
    const uint32_t base = in->slot * blob_slot(flash->page);
    while (count) { /* whole units; the rest of the last one waits in the buffer of answers, which is free */
        uint8_t *unit = (uint8_t *)d->scratch;
        const uint32_t have = in->at % UNIT, take = count < UNIT - have ? count : UNIT - have;
        memcpy(unit + have, bytes, take);
        bytes += take;
        count -= take;
        in->at += take;
        if (in->at % UNIT && in->at != in->length) continue;
        memset(unit + have + take, 0xff, UNIT - have - take);
        if (flash->program(flash->context, base + (in->at - have - take), unit, UNIT)) {
            in->length = 0;
            return ACC_FLASH;
        }
    }
    return ACC_OK;
}

int acc_update_finish(acc_device *d) {
    const acc_flash *flash = &d->config.flash;
    acc_incoming *in = &d->incoming;
    const uint32_t length = in->length, base = in->slot * blob_slot(flash->page);
    in->length = 0;
    if (!length || in->at != length) return ACC_TRUNCATED;
    const uint8_t *blob = flash->map(flash->context, base, length);
    if (!blob) return ACC_FLASH;
    const int refused = acc_check(d, blob, length);
    if (refused) return refused;
    mark end;
    memset(&end, 0, sizeof end);
    end.magic = WEIGHTS;
    end.sequence = counter_of(blob);
    end.length = length;
    end.crc = acc_crc(0, blob, length);
    memcpy(end.release, blob + offsetof(acc_header, content_hash), sizeof end.release);
    if (flash->program(flash->context, base + blob_slot(flash->page) - UNIT, &end, sizeof end)) return ACC_FLASH;
    if (accepted(d, in->slot) != blob) return ACC_FLASH;
    acc_run(d, blob);
#if ACC_GRADIENT
    acc_adapt(d); /* the examples are this device's still */
#endif
    return ACC_OK;
}

/* ---- what was learnt */

/* The mark of a slot that holds what was learnt with these weights. */
static int intact(const acc_device *d, uint32_t slot, mark *found) {
    const acc_flash *flash = &d->config.flash;
    uint8_t piece[PIECE];
    uint32_t crc, at = state_at(d, slot);
    if (flash->read(flash->context, at, found, sizeof *found)) return ACC_FLASH;
    if (found->magic != LEARNT) return ACC_EMPTY;
    if (found->length != sizeof(acc_learned)) return ACC_FLASH;
    crc = acc_crc(0, &found->sequence, 8);
    crc = acc_crc(crc, found->release, sizeof found->release);
    for (uint32_t done = 0; done < found->length; done += PIECE) {
        const uint32_t some = found->length - done < PIECE ? found->length - done : PIECE;
        if (flash->read(flash->context, at + UNIT + done, piece, some)) return ACC_FLASH;
        crc = acc_crc(crc, piece, some);
    }
    return crc == found->crc ? ACC_OK : ACC_FLASH;
}

int acc_load(acc_device *d) {
    const acc_flash *flash = &d->config.flash;
    int result = ACC_EMPTY;
    uint32_t from = 2;
    d->sequence = 0;
    for (uint32_t slot = 0; slot < 2; slot++) {
        mark found;
        const int told = intact(d, slot, &found);
        if (told == ACC_FLASH && from == 2) result = ACC_FLASH;
        if (told || found.sequence <= d->sequence) continue;
        d->sequence = found.sequence;
        /* of other weights: its number still counts, so that a newer one is told from it */
        const int same =
            memcmp(found.release, d->blob + offsetof(acc_header, content_hash), sizeof found.release) == 0;
        from = same ? slot : 2;
        result = same ? ACC_OK : ACC_EMPTY;
    }
    if (from == 2) return result;
    if (flash->read(flash->context, state_at(d, from) + UNIT, &d->state, sizeof d->state)) {
        acc_start(d);
        return ACC_FLASH;
    }
    return ACC_OK;
}

static int write_state(acc_device *d) {
    const acc_flash *flash = &d->config.flash;
    const uint8_t *from = (const uint8_t *)&d->state;
    uint8_t unit[UNIT];
    mark head;
    if (!flash->page) return ACC_FLASH;
    memset(&head, 0, sizeof head);
    head.magic = LEARNT;
    head.sequence = d->sequence + 1;
    head.length = sizeof d->state;
    memcpy(head.release, d->blob + offsetof(acc_header, content_hash), sizeof head.release);
    head.crc = acc_crc(0, &head.sequence, 8);
    head.crc = acc_crc(head.crc, head.release, sizeof head.release);
    head.crc = acc_crc(head.crc, from, sizeof d->state);
    const uint32_t at = state_at(d, head.sequence & 1u);
    if (flash->erase(flash->context, at, state_slot(flash->page))) return ACC_FLASH;
    for (uint32_t done = 0; done < sizeof d->state; done += UNIT) {
        const uint32_t left = (uint32_t)sizeof d->state - done;
        memset(unit, 0xff, UNIT);
        memcpy(unit, from + done, left < UNIT ? left : UNIT);
        if (flash->program(flash->context, at + UNIT + done, unit, UNIT)) return ACC_FLASH;
    }
    if (flash->program(flash->context, at, &head, sizeof head)) return ACC_FLASH;
    mark found; /* worn flash may hold other bytes than it was given */
    if (intact(d, head.sequence & 1u, &found) || found.sequence != head.sequence) return ACC_FLASH;
    d->sequence = head.sequence;
    return ACC_OK;
}

int acc_save(acc_device *d) { return d->blob ? write_state(d) : ACC_NO_WEIGHTS; }

/* After a reset: the start becomes the newest, or nothing is kept, so that a restart does not bring back what was
 * left. */
void acc_forget_saved(acc_device *d) {
    const acc_flash *flash = &d->config.flash;
    if (!flash->page || !d->sequence || write_state(d) == ACC_OK) return;
    (void)flash->erase(flash->context, state_at(d, 0), 2 * state_slot(flash->page));
}
