/* A child of a gateway on this machine, on standard input and output: to try `acclimate-device gateway` without a
 * board. Build it with the .c files of the firmware, -lsodium and -lm; run: host FLASH-FILE KEY-IN-HEX
 * On a board the same three things are there: flash, a line, and a source of random bytes. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "acclimate.h"
#include "factory.h"

enum { PAGE = 4096, MOST = 1 << 20 };

static acc_device device;
static acc_link line;
#if ACC_MOMENTS
static acc_seen seen[64]; /* of so many examples a round of the fleet may have moments */
#endif
static uint8_t flash[MOST], key[32];
static const char *file;

static int flash_store(void) {
    FILE *to = fopen(file, "wb");
    if (!to) return 1;
    const int whole = fwrite(flash, acc_flash_bytes(PAGE), 1, to) == 1;
    return fclose(to) || !whole;
}
static int flash_read(void *context, uint32_t at, void *to, uint32_t count) {
    (void)context;
    memcpy(to, flash + at, count);
    return 0;
}
static int flash_program(void *context, uint32_t at, const void *from, uint32_t count) {
    (void)context;
    memcpy(flash + at, from, count);
    return flash_store();
}
static int flash_erase(void *context, uint32_t at, uint32_t count) {
    (void)context;
    memset(flash + at, 0xff, count);
    return 0;
}
static const uint8_t *flash_map(void *context, uint32_t at, uint32_t count) {
    (void)context, (void)count;
    return flash + at;
}
static int verify(const uint8_t signature[64], const uint8_t trusted[32], const uint8_t *message, uint32_t length) {
    return crypto_sign_verify_detached(signature, message, length, trusted) == 0;
}
static int fill(void *context, uint8_t *to, uint32_t count) {
    (void)context;
    randombytes_buf(to, count);
    return 0;
}
static void put(void *context, const uint8_t *bytes, uint32_t count) {
    (void)context;
    while (count) {
        const ssize_t some = write(1, bytes, count);
        if (some <= 0) return;
        bytes += some;
        count -= (uint32_t)some;
    }
}

int main(int arguments, char **argument) {
    acc_config config = acc_defaults();
    uint8_t bytes[256];
    ssize_t some;
    size_t whole;
    if (arguments != 3 || sodium_init() < 0 || acc_flash_bytes(PAGE) > MOST ||
        sodium_hex2bin(key, sizeof key, argument[2], strlen(argument[2]), 0, &whole, 0) || whole != sizeof key) {
        fprintf(stderr, "usage: host FLASH-FILE KEY-IN-HEX\n");
        return 2;
    }
    file = argument[1];
    memset(flash, 0xff, sizeof flash);
    FILE *from = fopen(file, "rb");
    if (from) {
        if (!fread(flash, acc_flash_bytes(PAGE), 1, from)) fprintf(stderr, "%s is cut short\n", file);
        fclose(from);
    }
    config.flash.page = PAGE;
    config.flash.read = flash_read;
    config.flash.program = flash_program;
    config.flash.erase = flash_erase;
    config.flash.map = flash_map;
    config.verify = verify;
    config.key = key;
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
#if ACC_MOMENTS
    config.seen = seen;
    config.seen_room = sizeof seen / sizeof *seen;
#endif
    if (acc_begin(&device, &config)) return 1;
    acc_link_begin(&line, &device, fill, put, 0);
    while ((some = read(0, bytes, sizeof bytes)) > 0) acc_link_take(&line, bytes, (uint32_t)some);
    return 0;
}
