/* What the runtime's files share; an application includes acclimate.h alone. */
#ifndef ACC_INTERNAL_H
#define ACC_INTERNAL_H

#include <stddef.h>

#include "acclimate.h"

/* A blob: header, numbers, Ed25519 of both. Little-endian, as every Cortex-M is run. */
typedef struct {
    uint8_t magic[4]; /* ACB1 */
    uint32_t header_bytes;
    uint8_t topology[32]; /* SHA-256 of what the firmware was generated for */
    uint32_t counter, numbers, version, reserved;
    uint8_t content_hash[32];
    char name[72]; /* zero-terminated */
} acc_header;
enum { ACC_HEADER_BYTES = 160, ACC_SIGNATURE_BYTES = 64 };
#define ACC_BLOB_BYTES ((uint32_t)(ACC_HEADER_BYTES + 4 * ACC_NUMBERS + ACC_SIGNATURE_BYTES))

static inline const acc_header *acc_header_of(const acc_device *device) {
    return (const acc_header *)(const void *)device->blob;
}
static inline const float *acc_numbers(const acc_device *device) {
    return (const float *)(const void *)(device->blob + ACC_HEADER_BYTES);
}

uint32_t acc_crc(uint32_t crc, const void *bytes, uint32_t count);
int acc_load(acc_device *device);
const uint8_t *acc_newest(const acc_device *device);
int acc_prepare(acc_device *device, const acc_real *x);
void acc_shift_features(const acc_device *device, float *features);
void acc_heads_begin(acc_device *device);
void acc_heads_reopen(acc_device *device);
/* From `x`: features into the arena, answers and outputs. */
void acc_heads_answer(acc_device *device, int all);
/* After acc_heads_answer(device, 1): one label (one-hot, or normalized values). */
void acc_heads_learn(acc_device *device, const float *target);
void acc_sketch_add(acc_sketch *sketch, float value);
void acc_forget_saved(acc_device *device);

#endif
