/* What the runtime's files share; an application includes acclimate.h alone. */
#ifndef ACC_INTERNAL_H
#define ACC_INTERNAL_H

#include <stddef.h>

#include "acclimate.h"

#if defined __FAST_MATH__ || (defined __FINITE_MATH_ONLY__ && __FINITE_MATH_ONLY__)
#error "compile without -ffast-math and -ffinite-math-only: with them no NaN of a broken sensor is noticed"
#endif
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights, flash and frames are little-endian: compile for a little-endian processor"
#endif
#if defined __SIZEOF_DOUBLE__ && __SIZEOF_DOUBLE__ != 8
#error "drift detectors count on doubles of 64 bits: compile for a processor, or with a flag, that has them"
#endif

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
typedef char acc_header_is_not_padded[sizeof(acc_header) == ACC_HEADER_BYTES ? 1 : -1];
#define ACC_BLOB_BYTES ((uint32_t)(ACC_HEADER_BYTES + 4 * ACC_NUMBERS + ACC_SIGNATURE_BYTES))

static inline const acc_header *acc_header_of(const acc_device *device) {
    return (const acc_header *)(const void *)device->blob;
}
static inline const float *acc_numbers(const acc_device *device) {
    return (const float *)(const void *)(device->blob + ACC_HEADER_BYTES);
}

/* A count stays at the most that it holds: a gateway may be away for long. */
static inline void acc_count(uint32_t *count, uint32_t more) {
    const uint32_t left = UINT32_MAX - *count;
    *count += more < left ? more : left;
}

uint32_t acc_crc(uint32_t crc, const void *bytes, uint32_t count);
/* Predict with these weights from now on, and with what was learnt with them where flash holds it. */
void acc_run(acc_device *device, const uint8_t *blob);
int acc_load(acc_device *device);
const uint8_t *acc_newest(const acc_device *device);
int acc_prepare(acc_device *device, const acc_real *x);
/* One input in units of training; how it was refused, or whether it was cut to the bounds of training: 1. */
int acc_normalize(const acc_device *device, const acc_real *x, float *to);
#if !ACC_CLASSES
/* Recorded values in units of training. */
void acc_normalize_values(const acc_device *device, const float *values, float *to);
#endif
void acc_shift_features(const acc_device *device, float *features);
/* The loss of the outputs at hand, in the bundle's measure. */
float acc_loss(const acc_device *device, const float *target);
void acc_detector_reset(acc_device *device);
/* Back to the start, with a fresh detector. */
void acc_start_afresh(acc_device *device);

/* What the kinds of adaptation have in common: acc_heads.c, acc_gradient.c. */
enum { ACC_HURRY = 1, ACC_ANEW = 2 }; /* what an alarm asks for: a warning, drift */
void acc_start(acc_device *device);
/* From `x`: the outputs; with `all` also what learning from this example needs. */
void acc_answer(acc_device *device, int all);
/* After acc_answer(device, 1): one label. `target`: one-hot, or normalized values; `values`: as recorded. */
void acc_take(acc_device *device, const acc_real *x, int32_t label, const float *values, const float *target, int response);
#if ACC_GRADIENT
void acc_adapt(acc_device *device);
void acc_forget_examples(acc_device *device);
#endif
#if ACC_MOMENTS
/* Keep the example at hand for a round's moments, where there is memory; forget all of them. */
void acc_see(acc_device *device, int32_t label, const float *target);
void acc_forget_seen(acc_device *device);
#endif
void acc_sketch_add(acc_sketch *sketch, float value);
void acc_forget_saved(acc_device *device);

#endif
