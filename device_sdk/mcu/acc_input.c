/* From recorded inputs to what the network takes, as acclimate_device.online.schema and preprocessing. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

static const float LARGEST = 1e15f; /* beyond it, float32 arithmetic on squares overflows */

#if ACC_HOLD
/* The value of a gap: the channel's last one in the window, at its start the next one. */
static acc_real held(const acc_real *row, int32_t at) {
    for (int32_t i = at; i >= 0; i--)
        if (!isnan(row[i])) return row[i];
    for (int32_t i = at; i < ACC_SAMPLES; i++)
        if (!isnan(row[i])) return row[i];
    return row[at];
}
#endif

static float repaired(const acc_real *row, int32_t channel, int32_t at, const float *numbers) {
    acc_real v = row[at];
    (void)numbers, (void)channel;
#if ACC_HOLD
    if (isnan(v)) v = held(row, at);
#endif
#if ACC_HAS_OFFSET
    double offset;
    memcpy(&offset, numbers + ACC_AT_OFFSET + 2 * channel, sizeof offset);
    v -= offset;
#endif
#if ACC_HAS_RELATIVE
    if (acc_relative[channel]) {
        acc_real first = row[0];
#if ACC_HOLD
        if (isnan(first)) first = held(row, 0);
#endif
#if ACC_HAS_OFFSET
        first -= offset;
#endif
        v -= first;
    }
#endif
    return (float)v;
}

int acc_normalize(const acc_device *d, const acc_real *x, float *to) {
    const float *numbers = acc_numbers(d);
    int varies = d->config.allow_constant || ACC_MAY_STAND, beyond = 0;
    for (int32_t i = 0; i < ACC_INPUT; i++) {
        const int32_t channel = i / ACC_SAMPLES, first = channel * ACC_SAMPLES;
        to[i] = repaired(x + first, channel, i - first, numbers);
        if (!(fabsf(to[i]) < LARGEST)) return ACC_BAD_INPUT;
        varies |= to[i] != to[first];
    }
    if (!varies) return ACC_BAD_INPUT;
    for (int32_t i = 0; i < ACC_INPUT; i++) {
        const int32_t channel = i / ACC_SAMPLES;
#if ACC_BOUNDS
        const float low = numbers[ACC_AT_LOW + channel], high = numbers[ACC_AT_HIGH + channel];
        if (to[i] < low || to[i] > high) {
            to[i] = to[i] < low ? low : high;
            beyond = 1;
        }
#endif
        to[i] = (to[i] - numbers[ACC_AT_MEAN + channel]) * numbers[ACC_AT_INVERSE + channel];
    }
    return beyond;
}

int acc_prepare(acc_device *d, const acc_real *x) {
    if (!d->blob) return ACC_NO_WEIGHTS;
#if ACC_CARRY
    for (int32_t i = 0; i < ACC_INPUT; i++)
        if (!d->has_row || !isnan(x[i])) d->last_row[i] = x[i];
    d->has_row = 1;
    x = d->last_row;
#endif
    const int told = acc_normalize(d, x, d->x);
    if (told < 0) {
        acc_count(&d->counts.bad_inputs, 1);
        return told;
    }
    if (told && ACC_BOUNDS == 2) {
        acc_count(&d->counts.beyond, 1);
        return ACC_BEYOND;
    }
    acc_count(&d->counts.clamped, (uint32_t)told);
    return ACC_OK;
}

void acc_shift_features(const acc_device *d, float *features) {
    int32_t members[ACC_GROUPS];
    memset(members, 0, sizeof members);
    for (int32_t i = 0; i < ACC_SHIFT; i++) features[i] = 0.0f;
    for (int32_t channel = 0; channel < ACC_CHANNELS; channel++) {
        const float *row = d->x + channel * ACC_SAMPLES;
        const int32_t group = channel * ACC_GROUPS / ACC_CHANNELS;
        float mean = 0.0f;
        for (int32_t i = 0; i < ACC_SAMPLES; i++) mean += row[i];
        mean /= (float)ACC_SAMPLES;
        members[group]++;
        features[group] += mean;
#if ACC_SAMPLES > 1
        float squares = 0.0f;
        for (int32_t i = 0; i < ACC_SAMPLES; i++) squares += (row[i] - mean) * (row[i] - mean);
        features[ACC_GROUPS + group] += logf(sqrtf(squares / (float)ACC_SAMPLES) + 1e-3f);
#endif
    }
    for (int32_t i = 0; i < ACC_SHIFT; i++) features[i] /= (float)members[i % ACC_GROUPS];
}
