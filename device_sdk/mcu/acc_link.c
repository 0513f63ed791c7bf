/* The serial line: COBS frames (Cheshire and Baker 1999), a zero between. kind, sequence, body, CRC-32 of these. */
#include <string.h>

#include "acc_internal.h"

enum { ASK_HELLO = 1, ASK_BEGIN, ASK_DATA, ASK_FINISH, ASK_REPORT, ASK_REST, ASK_PREDICT, ASK_LEARN, ASK_RESET, ASK_SAVE, ASK_MOMENTS, ASK_NUMBERS };
enum { HEAD = 2, TAIL = 4, BODY = 240 };

static uint32_t word(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static void set_word(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

/* An answer: the kind with its high bit set, the same sequence, a signed result, a body. */
static void answer(acc_link *l, uint8_t kind, uint8_t sequence, int32_t result, const uint8_t *body, uint32_t count) {
    uint8_t plain[HEAD + 4 + BODY + TAIL], coded[HEAD + 4 + BODY + TAIL + 4];
    uint32_t at = 2, code = 1, length = HEAD + 4 + count;
    coded[0] = 0; /* ends whatever else was written to the line, such as a boot loader's greeting */
    l->told = result;
    plain[0] = (uint8_t)(kind | 0x80u);
    plain[1] = sequence;
    set_word(plain + HEAD, (uint32_t)result);
    if (count) memcpy(plain + HEAD + 4, body, count);
    set_word(plain + length, acc_crc(0, plain, length));
    length += TAIL;
    for (uint32_t i = 0; i < length; i++) {
        if (plain[i]) coded[at++] = plain[i];
        if (!plain[i] || at - code == 255) {
            coded[code] = (uint8_t)(at - code);
            code = at++;
        }
    }
    coded[code] = (uint8_t)(at - code);
    coded[at++] = 0;
    l->send(l->context, coded, at);
}

static void hello(acc_link *l, uint8_t sequence) {
    uint8_t body[32 + 8 + 32 + 4];
    const acc_header *header = acc_header_of(l->device);
    memset(body, 0, sizeof body); /* of a device without weights, which waits for some */
    memcpy(body, acc_topology, 32);
    set_word(body + 32, acc_counter(l->device));
    set_word(body + 36, acc_version(l->device));
    if (header) memcpy(body + 40, header->content_hash, 32);
    set_word(body + 72, l->device->state.adapted);
    answer(l, ASK_HELLO, sequence, ACC_OK, body, sizeof body);
}

/* Body: times of the window's beginning and end, and the checksum of the report that the gateway took last. Answers the
 * bytes there are, which ASK_REST fetches; one that did not arrive whole, because the line broke or the gateway stopped, is
 * answered again. */
static void report(acc_link *l, uint8_t sequence, const uint8_t *body, uint32_t count) {
    uint8_t id[16];
    if (count == 12 && l->report_bytes && word(body + 8) != acc_crc(0, l->buffer.bytes, l->report_bytes)) {
        answer(l, ASK_REPORT, sequence, (int32_t)l->report_bytes, 0, 0);
        return;
    }
    if (count != 12 || !l->random || l->random(l->context, id, sizeof id)) {
        answer(l, ASK_REPORT, sequence, ACC_FRAME, 0, 0);
        return;
    }
    const int32_t made =
        acc_report(l->device, id, word(body), word(body + 4), (char *)l->buffer.bytes, ACC_REPORT_BYTES);
    l->report_bytes = made > 0 ? (uint32_t)made : 0;
    l->example_at = 0; /* the buffer was the example's */
    answer(l, ASK_REPORT, sequence, made, 0, 0);
}

static void rest(acc_link *l, uint8_t sequence, const uint8_t *body, uint32_t count) {
    const uint32_t at = count == 4 ? word(body) : UINT32_MAX;
    if (at >= l->report_bytes) {
        answer(l, ASK_REST, sequence, ACC_FRAME, 0, 0);
        return;
    }
    const uint32_t left = l->report_bytes - at, some = left < BODY ? left : BODY;
    answer(l, ASK_REST, sequence, (int32_t)some, l->buffer.bytes + at, some);
}

#if ACC_MOMENTS
/* Body: the longest vector as a double, bits, labels. Answers how many numbers there are, which ASK_NUMBERS fetches. */
static void begin_moments(acc_link *l, uint8_t sequence, const uint8_t *body, uint32_t count) {
    double clip = 0.0;
    if (count == sizeof clip + 8) memcpy(&clip, body, sizeof clip);
    answer(l, ASK_MOMENTS, sequence, clip > 0.0 ? acc_moments_begin(l->device, clip, word(body + 8), word(body + 12)) : ACC_FRAME, 0, 0);
}

static void numbers(acc_link *l, uint8_t sequence, const uint8_t *body, uint32_t count) {
    int32_t some[BODY / 4];
    const uint32_t at = count == 4 ? word(body) : UINT32_MAX, left = at < ACC_MOMENT_COUNT ? ACC_MOMENT_COUNT - at : 0;
    const uint32_t length = left < BODY / 4 ? left : BODY / 4;
    const int told = left ? acc_moments_read(l->device, at, length, some) : ACC_FRAME;
    answer(l, ASK_NUMBERS, sequence, told == ACC_OK ? (int32_t)length : told, (const uint8_t *)some, told == ACC_OK ? 4 * length : 0);
}
#endif

/* Whether a piece goes on where the one before it ended, by the gateway's next frame: not after a restart, and not where
 * two gateways send at once. */
static int follows(const acc_link *l, uint8_t kind, uint8_t sequence, uint32_t at) {
    return !at || (at == l->example_at && kind == l->example_kind && sequence == (uint8_t)(l->example_sequence + 1u));
}

/* Body: a place, then bytes of the example from there on: the label or the values, then the input. The last piece has
 * it predicted or learnt; each one before is answered ACC_OK. */
static void example(acc_link *l, uint8_t kind, uint8_t sequence, const uint8_t *body, uint32_t count) {
    uint8_t *to = l->buffer.bytes + (kind == ASK_PREDICT ? offsetof(acc_example, x) : 0);
    const uint32_t whole = (uint32_t)(sizeof(acc_example) - (kind == ASK_PREDICT ? offsetof(acc_example, x) : 0));
    const uint32_t at = count < 4 ? UINT32_MAX : word(body), next = at + count - 4;
    l->report_bytes = 0; /* the buffer was the report's */
    if (at > whole || count - 4 > whole - at || !follows(l, kind, sequence, at)) {
        l->example_at = 0;
        answer(l, kind, sequence, ACC_FRAME, 0, 0);
        return;
    }
    memcpy(to + at, body + 4, count - 4);
    l->example_at = next < whole ? next : 0;
    l->example_kind = kind;
    l->example_sequence = sequence;
    if (next < whole) {
        answer(l, kind, sequence, ACC_OK, 0, 0);
    } else if (kind == ASK_PREDICT) {
        float outputs[ACC_OUTPUTS];
        const int result = acc_predict(l->device, l->buffer.example.x, outputs);
        const uint32_t told = result < 0 ? 0 : sizeof outputs < BODY ? (uint32_t)sizeof outputs : BODY;
        answer(l, kind, sequence, result, (const uint8_t *)outputs, told);
    } else {
#if ACC_CLASSES
        answer(l, kind, sequence, acc_learn(l->device, l->buffer.example.x, l->buffer.example.target[0]), 0, 0);
#else
        answer(l, kind, sequence, acc_learn(l->device, l->buffer.example.x, l->buffer.example.target), 0, 0);
#endif
    }
}

static void obey(acc_link *l, uint8_t kind, uint8_t sequence, const uint8_t *body, uint32_t count) {
    acc_device *d = l->device;
    switch (kind) {
    case ASK_HELLO: hello(l, sequence); return;
    case ASK_BEGIN: answer(l, kind, sequence, count == 4 ? acc_update_begin(d, word(body)) : ACC_FRAME, 0, 0); return;
    case ASK_DATA: /* a place first: a frame that was answered but asked again is not written twice */
        if (count < 4 || !d->incoming.length) answer(l, kind, sequence, ACC_FRAME, 0, 0);
        else if (word(body) != d->incoming.at) answer(l, kind, sequence, word(body) + count - 4 == d->incoming.at ? ACC_OK : ACC_FRAME, 0, 0);
        else answer(l, kind, sequence, acc_update_write(d, body + 4, count - 4), 0, 0);
        return;
    case ASK_FINISH: answer(l, kind, sequence, acc_update_finish(d), 0, 0); return;
    case ASK_REPORT: report(l, sequence, body, count); return;
    case ASK_REST: rest(l, sequence, body, count); return;
    case ASK_PREDICT:
    case ASK_LEARN: example(l, kind, sequence, body, count); return;
    case ASK_RESET: answer(l, kind, sequence, acc_reset(d), 0, 0); return;
    case ASK_SAVE: answer(l, kind, sequence, acc_save(d), 0, 0); return;
#if ACC_MOMENTS
    case ASK_MOMENTS: begin_moments(l, sequence, body, count); return;
    case ASK_NUMBERS: numbers(l, sequence, body, count); return;
#endif
    default: answer(l, kind, sequence, ACC_FRAME, 0, 0); return;
    }
}

/* Whether an update waits for this request, so that it is no copy of one before, whatever its sequence. */
static int is_due(const acc_incoming *in, uint8_t kind) {
    return kind == ASK_BEGIN ? !in->length : kind == ASK_FINISH && in->length && in->at == in->length;
}

/* What does harm where it is done twice, because its answer was lost or a copy of it came late, is done once and answered
 * again. Later than ACC_LATE frames it is no copy: sequences begin anew after 256. */
static void take(acc_link *l, const uint8_t *frame, uint32_t length) {
    const uint8_t kind = frame[0], sequence = frame[1];
    const uint32_t check = word(frame + length - TAIL);
    const int once = kind == ASK_BEGIN || kind == ASK_FINISH || kind == ASK_REPORT || kind == ASK_LEARN || kind == ASK_RESET;
    l->heard++;
    const int new = !once || is_due(&l->device->incoming, kind);
    for (uint32_t i = 0; !new && i < ACC_RECENT && i < l->next; i++) {
        if (l->recent[i].check == check && l->heard - l->recent[i].heard <= ACC_LATE) {
            answer(l, kind, sequence, l->recent[i].told, 0, 0);
            return;
        }
    }
    obey(l, kind, sequence, frame + HEAD, length - HEAD - TAIL);
    if (once) {
        acc_obeyed *now = &l->recent[l->next++ % ACC_RECENT];
        now->check = check;
        now->heard = l->heard;
        now->told = l->told;
    }
}

/* Undo COBS in place; the plain bytes, 0 where the frame is none. */
static uint32_t decoded(uint8_t *frame, uint32_t length) {
    uint32_t from = 0, to = 0;
    while (from < length) {
        const uint32_t code = frame[from++];
        if (code - 1 > length - from) return 0;
        for (uint32_t i = 1; i < code; i++) frame[to++] = frame[from++];
        if (code < 255 && from < length) frame[to++] = 0;
    }
    return to;
}

void acc_link_begin(acc_link *l, acc_device *device, int (*random)(void *, uint8_t *, uint32_t),
                    void (*send)(void *, const uint8_t *, uint32_t), void *context) {
    memset(l, 0, sizeof *l);
    l->device = device;
    l->random = random;
    l->send = send;
    l->context = context;
}

void acc_link_take(acc_link *l, const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i]) {
            if (l->filled == ACC_FRAME_BYTES) l->overflow = 1;
            else l->frame[l->filled++] = bytes[i];
            continue;
        }
        const uint32_t length = l->overflow ? 0 : decoded(l->frame, l->filled);
        l->filled = 0;
        l->overflow = 0;
        /* a damaged frame is not answered: the gateway asks again */
        if (length >= HEAD + TAIL && acc_crc(0, l->frame, length - TAIL) == word(l->frame + length - TAIL))
            take(l, l->frame, length);
    }
}
