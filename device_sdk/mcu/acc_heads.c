/* Heads in closed form, as acclimate_device.runtime.closed_form: the start, the last layer, the class means. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"
#include "acc_kernels.h"

#if !ACC_GRADIENT

static const float MEMORY = 0.95f, WORST = -6.9f, SILENT = 1e-4f, START = ACC_CLASSES ? -7.0f : -3.0f;
#if !ACC_CLASSES
static const float SPREAD_RATE = 0.02f;
#endif

/* What is known counts no more than a new device's knowledge of itself. */
static void reopen(acc_device *d) {
    const float *numbers = acc_numbers(d);
#if ACC_HEAD_LAST
    memcpy(d->state.last_cov, numbers + ACC_AT_LAST_COV, sizeof d->state.last_cov);
#endif
#if ACC_HEAD_MEANS
    memcpy(d->state.means_cov, numbers + ACC_AT_MEANS_COV, sizeof d->state.means_cov);
#endif
    memset(d->state.trust, 0, sizeof d->state.trust);
}

void acc_start(acc_device *d) {
    memset(&d->state, 0, sizeof d->state);
    const float *numbers = acc_numbers(d);
#if ACC_HEAD_LAST
    memcpy(d->state.last_mean, numbers + ACC_AT_LAST_MEAN, sizeof d->state.last_mean);
#endif
#if ACC_HEAD_MEANS
    memcpy(d->state.means_mean, numbers + ACC_AT_MEANS_MEAN, sizeof d->state.means_mean);
#endif
    d->state.spread = 1.0f;
    reopen(d);
}

void acc_shares(const acc_device *d, float *shares) {
    float top = d->state.trust[0] + START, sum = 0.0f;
    for (int i = 1; i < ACC_EXPERTS; i++)
        if (d->state.trust[i] > top) top = d->state.trust[i];
    for (int i = 0; i < ACC_EXPERTS; i++) {
        shares[i] = expf(d->state.trust[i] + (i ? 0.0f : START) - top);
        sum += shares[i];
    }
    for (int i = 0; i < ACC_EXPERTS; i++) shares[i] /= sum;
}

#if ACC_HEAD_LAST
/* v' P v of a packed lower triangle. */
static float quadratic(const float *packed, const float *v, int32_t width) {
    float sum = 0.0f;
    for (int32_t i = 0; i < width; i++) {
        float row = 0.0f;
        for (int32_t j = 0; j < i; j++) row += packed[j] * v[j];
        sum += (2.0f * row + packed[i] * v[i]) * v[i];
        packed += i + 1;
    }
    return sum;
}
#endif

#if ACC_CLASSES
static void log_softmax(float *logits) {
    float top = logits[0], sum = 0.0f;
    for (int i = 1; i < ACC_OUTPUTS; i++)
        if (logits[i] > top) top = logits[i];
    for (int i = 0; i < ACC_OUTPUTS; i++) sum += expf(logits[i] - top);
    for (int i = 0; i < ACC_OUTPUTS; i++) logits[i] = logits[i] - top - logf(sum);
}
#endif

#if ACC_HEAD_LAST
static void answer_last(const acc_device *d, const float *mean, const float *cov, float *to) {
    const float *phi = d->arena + ACC_PHI, *numbers = acc_numbers(d);
    for (int32_t c = 0; c < ACC_OUTPUTS; c++) to[c] = 0.0f;
    for (int32_t i = 0; i < ACC_D; i++)
        for (int32_t c = 0; c < ACC_OUTPUTS; c++) to[c] += phi[i] * mean[i * ACC_OUTPUTS + c];
    (void)numbers, (void)cov;
#if ACC_CLASSES
    const float variance = 1.0f + quadratic(cov, phi, ACC_D);
    const float scale = numbers[ACC_AT_LAST_SCALE] / powf(variance, numbers[ACC_AT_LAST_POWER]);
    for (int32_t c = 0; c < ACC_OUTPUTS; c++) to[c] = to[c] * scale + numbers[ACC_AT_LAST_BIAS + c];
    log_softmax(to);
#endif
}
#endif

#if ACC_HEAD_MEANS
static float squared(const float *a, const float *b) {
    float sum = 0.0f;
    for (int32_t i = 0; i < ACC_R; i++) sum = acc_fused(a[i] - b[i], a[i] - b[i], sum);
    return sum;
}

/* Of a softmax only differences count, so distances and variances are taken from those of the nearest class: of squared
 * distances in hundreds of dimensions float32 keeps less than what tells classes apart. */
static void answer_means(const acc_device *d, const float *mean, const float *cov, float *to) {
    const float *z = d->arena + ACC_Z, *numbers = acc_numbers(d), *nearest = mean;
    float near = squared(z, mean), its = cov[0];
    for (int32_t c = 1; c < ACC_OUTPUTS; c++) {
        const float distance = squared(z, mean + c * ACC_R), own = cov[c * (c + 3) / 2];
        if (distance * (1.0f + its) < near * (1.0f + own)) near = distance, its = own, nearest = mean + c * ACC_R;
    }
    for (int32_t c = 0; c < ACC_OUTPUTS; c++, mean += ACC_R) {
        const float own = cov[c * (c + 3) / 2], variance = 1.0f + own;
        float farther = near * (its - own) / (1.0f + its);
        for (int32_t i = 0; i < ACC_R && mean != nearest; i++) {
            const float apart = mean[i] - nearest[i];
            farther = acc_fused(apart, apart - 2.0f * (z[i] - nearest[i]), farther);
        }
        to[c] = -numbers[ACC_AT_MEANS_SCALE] * farther / variance - numbers[ACC_AT_MEANS_POWER] * logf(variance) +
                numbers[ACC_AT_MEANS_BIAS + c];
    }
    log_softmax(to);
}
#endif

/* The fleet's answer: of both heads the log of the mean of their probabilities. */
static void answer_start(acc_device *d, float *to) {
    const float *numbers = acc_numbers(d);
#if ACC_HEAD_LAST
    answer_last(d, numbers + ACC_AT_LAST_MEAN, numbers + ACC_AT_LAST_COV, to);
#endif
#if ACC_HEAD_MEANS && ACC_HEAD_LAST
    float *other = d->outputs;
    answer_means(d, numbers + ACC_AT_MEANS_MEAN, numbers + ACC_AT_MEANS_COV, other);
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        const float high = to[c] > other[c] ? to[c] : other[c], low = to[c] > other[c] ? other[c] : to[c];
        to[c] = high + log1pf(expf(low - high)) - 0.69314718056f;
    }
#elif ACC_HEAD_MEANS
    answer_means(d, numbers + ACC_AT_MEANS_MEAN, numbers + ACC_AT_MEANS_COV, to);
#endif
}

void acc_answer(acc_device *d, int all) {
    float shares[ACC_EXPERTS], *to = d->answers + ACC_OUTPUTS;
    acc_shares(d, shares);
    const int from = all || shares[0] > SILENT ? 0 : 1;
    acc_features(acc_numbers(d), d->x, d->arena);
    if (!from) answer_start(d, d->answers);
#if ACC_HEAD_LAST
    answer_last(d, d->state.last_mean, d->state.last_cov, to);
    to += ACC_OUTPUTS;
#endif
#if ACC_HEAD_MEANS
    answer_means(d, d->state.means_mean, d->state.means_cov, to);
#endif
    const int heard = shares[0] > SILENT ? 0 : 1;
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        float sum = 0.0f;
        for (int i = heard; i < ACC_EXPERTS; i++) {
            const float answer = d->answers[i * ACC_OUTPUTS + c];
            sum += shares[i] * (ACC_CLASSES ? expf(answer) : answer);
        }
#if ACC_CLASSES
        d->outputs[c] = logf(sum > 1e-30f || sum != sum ? sum : 1e-30f) / acc_numbers(d)[ACC_AT_TEMPERATURE];
#else
        d->outputs[c] = sum;
#endif
    }
}

/* How well some experts together told the label: its log probability, or minus the error in units of the usual one. */
static float credit(acc_device *d, int from, int to, const float *target) {
    float found = 0.0f;
#if ACC_CLASSES
    float *told = d->scratch;
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        const float *answer = d->answers + c;
        float top = answer[from * ACC_OUTPUTS];
        for (int i = from + 1; i < to; i++)
            if (answer[i * ACC_OUTPUTS] > top) top = answer[i * ACC_OUTPUTS];
        float sum = expf(answer[from * ACC_OUTPUTS] - top);
        for (int i = from + 1; i < to; i++) sum += expf(answer[i * ACC_OUTPUTS] - top);
        told[c] = (top + logf(sum)) / acc_numbers(d)[ACC_AT_TEMPERATURE];
    }
    log_softmax(told);
    for (int c = 0; c < ACC_OUTPUTS; c++)
        if (target[c] > 0.5f) found = told[c];
#else
    const float *noise = acc_numbers(d) + ACC_AT_NOISE;
    (void)to;
    for (int c = 0; c < ACC_OUTPUTS; c++) found -= fabsf(d->answers[from * ACC_OUTPUTS + c] - target[c]) / noise[c];
    found /= (float)ACC_OUTPUTS;
#endif
    return isfinite(found) && found > WORST ? found : WORST;
}

static void score(acc_device *d, const float *target) {
    const float start = credit(d, 0, 1, target), own = credit(d, 1, ACC_EXPERTS, target);
    float top = -INFINITY;
    for (int i = 0; i < ACC_EXPERTS; i++) {
        d->state.trust[i] = MEMORY * d->state.trust[i] + (i ? own : start);
        if (d->state.trust[i] > top) top = d->state.trust[i];
    }
    for (int i = 0; i < ACC_EXPERTS; i++) d->state.trust[i] -= top;
}

#if ACC_HEAD_LAST
static void learn_last(acc_device *d, const float *target) {
    const float *numbers = acc_numbers(d), *phi = d->arena + ACC_PHI;
    const float kept = numbers[ACC_AT_LAST_KEPT], gone = 1.0f - kept, kept2 = kept * kept, gone2 = 1.0f - kept2;
    float *mean = d->state.last_mean, *cov = d->state.last_cov, *u = d->scratch, *gap = d->scratch + ACC_D;
    const float *mean0 = numbers + ACC_AT_LAST_MEAN, *cov0 = numbers + ACC_AT_LAST_COV;
    float variance = 1.0f;
    for (int32_t i = 0; i < ACC_D * ACC_OUTPUTS; i++) mean[i] = mean[i] * kept + mean0[i] * gone;
    for (int32_t i = 0; i < ACC_D; i++) u[i] = 0.0f;
    for (int32_t i = 0; i < ACC_D; i++) {
        float row = 0.0f;
        for (int32_t j = 0; j <= i; j++, cov++, cov0++) {
            *cov = *cov * kept2 + *cov0 * gone2;
            row = acc_fused(*cov, phi[j], row);
            if (j < i) u[j] = acc_fused(*cov, phi[i], u[j]);
        }
        u[i] += row;
    }
    for (int32_t i = 0; i < ACC_D; i++) variance = acc_fused(u[i], phi[i], variance);
    for (int32_t c = 0; c < ACC_OUTPUTS; c++) {
        float told = 0.0f;
        for (int32_t i = 0; i < ACC_D; i++) told = acc_fused(phi[i], mean[i * ACC_OUTPUTS + c], told);
        gap[c] = target[c] - (ACC_CLASSES ? 1.0f / (float)ACC_OUTPUTS : 0.0f) - told;
    }
    cov = d->state.last_cov;
    for (int32_t i = 0; i < ACC_D; i++) {
        const float gain = u[i] / variance;
        for (int32_t c = 0; c < ACC_OUTPUTS; c++) mean[i * ACC_OUTPUTS + c] += gain * gap[c];
        for (int32_t j = 0; j <= i; j++) *cov++ -= u[i] * u[j] / variance;
    }
}
#endif

#if ACC_HEAD_MEANS
static void learn_means(acc_device *d, const float *target) {
    const float *numbers = acc_numbers(d), *z = d->arena + ACC_Z;
    const float kept = numbers[ACC_AT_MEANS_KEPT], gone = 1.0f - kept, kept2 = kept * kept, gone2 = 1.0f - kept2;
    float *mean = d->state.means_mean, *cov = d->state.means_cov, *u = d->scratch;
    int32_t y = 0;
    for (int32_t i = 0; i < ACC_OUTPUTS * ACC_R; i++) mean[i] = mean[i] * kept + numbers[ACC_AT_MEANS_MEAN + i] * gone;
    for (int32_t i = 0; i < ACC_OUTPUTS * (ACC_OUTPUTS + 1) / 2; i++)
        cov[i] = cov[i] * kept2 + numbers[ACC_AT_MEANS_COV + i] * gone2;
    for (int32_t c = 0; c < ACC_OUTPUTS; c++)
        if (target[c] > 0.5f) y = c;
    for (int32_t c = 0; c < ACC_OUTPUTS; c++) u[c] = c < y ? cov[y * (y + 1) / 2 + c] : cov[c * (c + 1) / 2 + y];
    const float variance = u[y] + 1.0f;
    for (int32_t i = 0; i < ACC_R; i++) {
        const float gap = z[i] - mean[y * ACC_R + i];
        for (int32_t c = 0; c < ACC_OUTPUTS; c++) mean[c * ACC_R + i] += u[c] / variance * gap;
    }
    for (int32_t c = 0; c < ACC_OUTPUTS; c++)
        for (int32_t j = 0; j <= c; j++) *cov++ -= u[c] * u[j] / variance;
}
#endif

void acc_take(acc_device *d, const acc_real *x, int32_t label, const float *values, const float *target, int response) {
    float shares[ACC_EXPERTS];
#if !ACC_CLASSES
    /* before the head moves: how wide this device's errors are beside the fleet's */
    const float *numbers = acc_numbers(d);
    const float root = sqrtf(1.0f + quadratic(d->state.last_cov, d->arena + ACC_PHI, ACC_D));
    float error = 0.0f;
    for (int c = 0; c < ACC_OUTPUTS; c++) error += fabsf(d->outputs[c] - target[c]) / (numbers[ACC_AT_NOISE + c] * root);
    error /= (float)ACC_OUTPUTS;
    const float seen = error < 5.0f ? error : 5.0f;
#endif
    score(d, target);
#if ACC_MOMENTS
    acc_see(d, label, target);
#endif
#if ACC_HEAD_LAST
    learn_last(d, target);
#endif
#if ACC_HEAD_MEANS
    learn_means(d, target);
#endif
#if !ACC_CLASSES
    d->state.spread += SPREAD_RATE * (seen - d->state.spread);
#endif
    acc_shares(d, shares);
    d->state.adapted = shares[0] < 0.5f;
    d->state.learnt = 1;
    acc_count(&d->counts.steps, 1);
    acc_count(&d->counts.adaptations, d->state.adapted);
    acc_count(&d->counts.kept_starts, !d->state.adapted);
    if (response) {
        acc_count(&d->counts.resets, 1);
        acc_detector_reset(d);
        reopen(d);
    }
    (void)x, (void)label, (void)values;
}

#else
typedef int acc_no_heads; /* a file may not be empty */
#endif
