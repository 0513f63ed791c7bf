/* libFuzzer's entry: bytes on the serial line, framed right or as they come, and blobs, into a device with flash. */
#include <stdlib.h>
#include <string.h>

#include "acc_internal.h"
#include "factory.h"

enum { PAGE = 256 };
static uint8_t *flash;
static uint32_t size;

static int flash_read(void *context, uint32_t at, void *to, uint32_t count) {
    (void)context;
    if (at > size || count > size - at) abort();
    memcpy(to, flash + at, count);
    return 0;
}
static int flash_program(void *context, uint32_t at, const void *from, uint32_t count) {
    (void)context;
    if (at > size || count > size - at || at % 32 || count % 32) abort();
    memcpy(flash + at, from, count);
    return 0;
}
static int flash_erase(void *context, uint32_t at, uint32_t count) {
    (void)context;
    if (at > size || count > size - at || at % PAGE || count % PAGE) abort();
    memset(flash + at, 0xff, count);
    return 0;
}
static const uint8_t *flash_map(void *context, uint32_t at, uint32_t count) {
    (void)context;
    return at > size || count > size - at ? 0 : flash + at;
}
static int verify(const uint8_t signature[64], const uint8_t key[32], const uint8_t *message, uint32_t length) {
    (void)key, (void)message, (void)length;
    return signature[0] & 1; /* half of what fits is taken: weights are then any bytes at all */
}
static int fill(void *context, uint8_t *to, uint32_t count) {
    (void)context;
    memset(to, 7, count);
    return 0;
}
static void drop(void *context, const uint8_t *bytes, uint32_t count) {
    (void)context, (void)bytes;
    if (count > 512) abort();
}

static void framed(acc_link *link, const uint8_t *data, uint32_t count) {
    uint8_t plain[300], coded[320];
    uint32_t at = 1, code = 0;
    if (count > 260) count = 260;
    memcpy(plain, data, count);
    const uint32_t crc = acc_crc(0, plain, count);
    memcpy(plain + count, &crc, 4);
    for (uint32_t i = 0; i < count + 4; i++) {
        if (plain[i]) coded[at++] = plain[i];
        if (!plain[i] || at - code == 255) {
            coded[code] = (uint8_t)(at - code);
            code = at++;
        }
    }
    coded[code] = (uint8_t)(at - code);
    coded[at++] = 0;
    acc_link_take(link, coded, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count) {
    static const uint8_t key[32];
    static acc_device device;
    static acc_link link;
#if ACC_MOMENTS
    static acc_seen seen[9];
#endif
    if (!flash) flash = malloc(size = acc_flash_bytes(PAGE));
    if (!count) return 0;
    acc_config config = acc_defaults();
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
    config.flash.page = PAGE;
    config.flash.read = flash_read, config.flash.program = flash_program;
    config.flash.erase = flash_erase, config.flash.map = flash_map;
    config.key = key, config.verify = verify;
#if ACC_MOMENTS
    config.seen = seen, config.seen_room = 9;
#endif
    memset(flash, 0xff, size);
    const uint8_t mode = *data++;
    count--;
    if (mode & 8) memcpy(flash, data, count < size ? count : size); /* flash may hold anything at a start */
    if (acc_begin(&device, &config)) abort();
    acc_link_begin(&link, &device, fill, drop, 0);
    if (mode & 1) { /* any bytes */
        acc_link_take(&link, data, (uint32_t)count);
    } else if (mode & 2) { /* frames whose checksum is right: a length, then so many bytes */
        while (count > 1) {
            uint32_t some = data[0] < count - 1 ? data[0] : (uint32_t)count - 1;
            framed(&link, data + 1, some);
            data += 1 + some, count -= 1 + some;
        }
    } else { /* a blob that is right up to some bytes, whole or not */
        uint8_t *blob = malloc(sizeof acc_factory);
        memcpy(blob, acc_factory, sizeof acc_factory);
        blob[40] = 9; /* a newer counter */
        for (; count > 3; data += 3, count -= 3) blob[(data[0] | (uint32_t)data[1] << 8) % sizeof acc_factory] ^= data[2];
        const uint32_t length = mode & 4 ? (uint32_t)sizeof acc_factory : (uint32_t)(sizeof acc_factory - mode);
        (void)acc_check(&device, blob, length);
        if (!acc_update_begin(&device, length) && !acc_update_write(&device, blob, length)) (void)acc_update_finish(&device);
        free(blob);
    }
    if (!(mode & 8) && mode & 3) return 0; /* a line alone: its frames predict, learn and save */
    acc_real x[ACC_INPUT];
    for (int i = 0; i < ACC_INPUT; i++) x[i] = (acc_real)(i % 7) - 3;
    (void)acc_predict(&device, x, 0);
#if ACC_CLASSES
    (void)acc_learn(&device, x, 1);
#else
    float values[ACC_OUTPUTS]; /* any bytes at all */
    for (uint32_t i = 0; i < sizeof values; i++) ((uint8_t *)values)[i] = i < count ? data[i] : 0;
    for (int i = 0; i < 9; i++) (void)acc_learn(&device, x, values);
    char report[ACC_REPORT_BYTES];
    if (acc_report(&device, key, 0, 60, report, sizeof report) <= 0) abort();
#endif
    (void)acc_save(&device);
    if (acc_begin(&device, &config)) abort();
    return 0;
}
