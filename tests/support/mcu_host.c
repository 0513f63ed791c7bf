/* A device on the host: flash in memory, which may lose power at any byte, and the calls that tests make. */
#include <stdlib.h>
#include <string.h>

#include "acc_internal.h"

enum { PAGE = 2048, ROOM = 64 };
typedef struct {
    acc_device device;
    acc_config config;
    uint8_t *flash;
    uint32_t size;
    int64_t left;   /* bytes until the power fails; below 0: never */
    uint32_t shuffle; /* not 0: bytes of one call land in another order */
    uint32_t worn;    /* not 0: the lowest bit of the byte before this place stays 0 */
    int blank_fails;  /* what was never programmed has no right checksum in the flash itself */
    acc_verify verify;
    uint8_t key[32];
    acc_link link;
#if ACC_MOMENTS
    acc_seen seen[ROOM];
#endif
    uint8_t sent[65536];
    uint32_t sent_bytes;
} host;

static uint32_t place(const host *h, uint32_t i, uint32_t count) { /* a bijection of 0..count-1 */
    return h->shuffle ? (uint32_t)(((uint64_t)i * 31u + h->shuffle) % count) : i;
}
static int flash_read(void *context, uint32_t at, void *to, uint32_t count) {
    host *h = context;
    int blank = 1;
    if (at + count > h->size) return 1;
    for (uint32_t i = at; i < at + count; i++) blank &= h->flash[i] == 0xff;
    if (blank && h->blank_fails) return 1;
    memcpy(to, h->flash + at, count);
    return 0;
}
static int flash_write(host *h, uint32_t at, const uint8_t *from, uint32_t count) {
    if (at + count > h->size) return 1;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t j = count % 31u ? place(h, i, count) : i;
        if (h->left == 0) return 1;
        if (h->left > 0) h->left--;
        h->flash[at + j] = from ? from[j] : 0xff;
        if (h->worn == at + j + 1) h->flash[at + j] &= 0xfe;
    }
    return 0;
}
static int flash_program(void *context, uint32_t at, const void *from, uint32_t count) {
    host *h = context;
    if (at % 32 || count % 32 || at + count > h->size) return 1;
    for (uint32_t i = 0; i < count; i++)
        if (h->flash[at + i] != 0xff && h->worn != at + i + 1) return 1;
    return flash_write(h, at, from, count);
}
static int flash_erase(void *context, uint32_t at, uint32_t count) {
    if (at % PAGE || count % PAGE) return 1;
    return flash_write(context, at, 0, count);
}
static const uint8_t *flash_map(void *context, uint32_t at, uint32_t count) {
    host *h = context;
    return at + count > h->size ? 0 : h->flash + at;
}
static int fill(void *context, uint8_t *to, uint32_t count) {
    static uint32_t state = 1;
    (void)context;
    while (count--) *to++ = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    return 0;
}
static void keep(void *context, const uint8_t *bytes, uint32_t count) {
    host *h = context;
    if (h->sent_bytes + count > sizeof h->sent) return;
    memcpy(h->sent + h->sent_bytes, bytes, count);
    h->sent_bytes += count;
}

int host_begin(host *h) { /* also: a restart */
    const int told = acc_begin(&h->device, &h->config);
    acc_link_begin(&h->link, &h->device, fill, keep, h);
    return told;
}
host *host_new(const uint8_t *factory, uint32_t bytes, int with_flash, acc_verify verify, const uint8_t *key, int detector) {
    host *h = calloc(1, sizeof *h);
    h->config = acc_defaults();
    h->config.factory = factory;
    h->config.factory_bytes = bytes;
    h->config.detector = (acc_detector)detector;
    h->left = -1;
#if ACC_MOMENTS
    h->config.seen = h->seen;
    h->config.seen_room = ROOM;
#endif
    if (with_flash) {
        h->size = acc_flash_bytes(PAGE);
        h->flash = malloc(h->size);
        memset(h->flash, 0xff, h->size);
        h->config.flash.context = h;
        h->config.flash.page = PAGE;
        h->config.flash.read = flash_read;
        h->config.flash.program = flash_program;
        h->config.flash.erase = flash_erase;
        h->config.flash.map = flash_map;
    }
    if (key) memcpy(h->key, key, 32);
    h->config.key = h->key;
    h->config.verify = verify;
    return h;
}
void host_free(host *h) {
    free(h->flash);
    free(h);
}
acc_device *host_device(host *h) { return &h->device; }
void host_power(host *h, int64_t left, uint32_t shuffle) { h->left = left, h->shuffle = shuffle; }
void host_wear(host *h, uint32_t worn) { h->worn = worn; }
void host_blank_fails(host *h) { h->blank_fails = 1; }
void host_flush(int denormals) { /* to zero, as a Cortex-M4 with FPSCR.FZ */
#if defined __SSE2_MATH__
    const unsigned both = 0x8040u, now = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(denormals ? now | both : now & ~both);
#else
    (void)denormals;
#endif
}
uint8_t *host_flash(host *h) { return h->flash; }
uint32_t host_flash_bytes(const host *h) { return h->size; }
uint32_t host_bytes(void) { return sizeof(acc_device); }
const acc_counts *host_counts(const host *h) { return &h->device.counts; }
const float *host_state(const host *h, uint32_t *count) {
    *count = (uint32_t)(sizeof(acc_learned) / 4 - 2);
    return (const float *)&h->device.state;
}
#if ACC_MOMENTS
uint32_t host_seen(const host *h, const float **phi, uint32_t *width) {
    *phi = h->seen[0].phi;
    *width = sizeof *h->seen / sizeof(float);
    return h->device.seen_count;
}
#endif
const float *host_outputs(const host *h) { return h->device.outputs; }
float host_distance(const host *h) { return h->device.shift.distance; }
int host_learn_many(host *h, const acc_real *x, const int32_t *y, int count, int32_t *predictions, uint8_t *drifts) {
    for (int i = 0; i < count; i++) {
        const uint32_t before = h->device.counts.drifts;
        predictions[i] = acc_predict(&h->device, x + i * ACC_INPUT, 0);
#if ACC_CLASSES
        const int told = acc_learn(&h->device, x + i * ACC_INPUT, y[i]);
        if (told) return told;
#else
        (void)y;
#endif
        drifts[i] = (uint8_t)(h->device.counts.drifts - before);
    }
    return 0;
}
uint32_t host_take(host *h, const uint8_t *bytes, uint32_t count, uint8_t *answer, uint32_t room) {
    h->sent_bytes = 0;
    acc_link_take(&h->link, bytes, count);
    const uint32_t some = h->sent_bytes < room ? h->sent_bytes : room;
    memcpy(answer, h->sent, some);
    return some;
}
