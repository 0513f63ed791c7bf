/* Moments for a fleet that learns together, as acclimate_device.federated: means of phi phi' and of phi y' over the
 * labelled examples that the application grants memory for, shortened to a length and rounded to integers. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

#if ACC_MOMENTS

/* Number `column` of an example behind its features: a target. */
static double value(const acc_seen *seen, int32_t column) {
    if (column < ACC_D) return (double)seen->phi[column];
#if ACC_CLASSES
    return (column - ACC_D == seen->label ? 1.0 : 0.0) - 1.0 / (double)ACC_OUTPUTS;
#else
    return (double)seen->target[column - ACC_D];
#endif
}

/* The mean of phi[row] times a feature or a target. */
static double moment(const acc_device *d, int32_t row, int32_t column) {
    const double share = 1.0 / (double)d->seen_count;
    double sum = 0.0;
    for (uint32_t i = 0; i < d->seen_count; i++) {
        const acc_seen *seen = d->config.seen + i;
        sum += (double)seen->phi[row] * share * value(seen, column);
    }
    return sum;
}

void acc_see(acc_device *d, int32_t label, const float *target) {
    if (!d->config.seen_room || d->asked) return; /* what a round has asked for stays as it is */
    acc_seen *to = d->config.seen + d->seen_next;
    memcpy(to->phi, d->arena + ACC_PHI, sizeof to->phi);
#if ACC_CLASSES
    to->label = label;
    (void)target;
#else
    memcpy(to->target, target, sizeof to->target);
    (void)label;
#endif
    d->seen_next = (d->seen_next + 1) % d->config.seen_room;
    if (d->seen_count < d->config.seen_room) d->seen_count++;
}

void acc_forget_seen(acc_device *d) { d->seen_count = d->seen_next = d->asked = 0; }

int32_t acc_moments_begin(acc_device *d, double clip, uint32_t bits, uint32_t labels) {
    double squares = 0.0, largest = 0.0;
    d->asked = 0;
    if (!(clip > 0.0) || bits > 24) return ACC_FRAME;
    if (d->seen_count < ACC_FEWEST_SEEN || d->seen_count < labels) return ACC_FEW;
    for (int32_t row = 0; row < ACC_D; row++)
        for (int32_t column = row; column < ACC_D + ACC_OUTPUTS; column++) {
            const double each = moment(d, row, column);
            squares += each * each;
            largest = fmax(largest, fabs(each));
        }
    if (!isfinite(squares)) return ACC_WIDE;
    const double length = sqrt(squares);
    d->shortened = length > clip ? clip / length : 1.0;
    d->grid = (double)((uint32_t)1 << bits);
    if (!(rint(largest * d->shortened * d->grid) < 2147483648.0)) return ACC_WIDE;
    d->asked = 1;
    return ACC_MOMENT_COUNT;
}

int acc_moments_read(const acc_device *d, uint32_t at, uint32_t count, int32_t *to) {
    int32_t row = 0, column;
    if (!d->asked || at > ACC_MOMENT_COUNT || count > ACC_MOMENT_COUNT - at) return ACC_FRAME;
    const uint32_t triangle = (uint32_t)ACC_D * (ACC_D + 1) / 2;
    for (uint32_t i = at; i < at + count; i++) {
        if (i < triangle) { /* the upper triangle by rows */
            uint32_t left = i;
            for (row = 0; left >= (uint32_t)(ACC_D - row); row++) left -= (uint32_t)(ACC_D - row);
            column = row + (int32_t)left;
        } else {
            row = (int32_t)((i - triangle) / ACC_OUTPUTS);
            column = ACC_D + (int32_t)((i - triangle) % ACC_OUTPUTS);
        }
        *to++ = (int32_t)rint(moment(d, row, column) * d->shortened * d->grid);
    }
    return ACC_OK;
}

#else
typedef int acc_no_moments; /* a file may not be empty */
#endif
