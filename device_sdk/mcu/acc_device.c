/* The device an application talks to, as acclimate_device.online: predict, learn, reset. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

acc_config acc_defaults(void) {
    acc_config config;
    memset(&config, 0, sizeof config);
    config.watch_every = 4;
    config.reopen_on_warning = config.reopen_on_drift = 1;
#if ACC_GRADIENT
    config.every = 8;
    config.hurry = 64;
    config.hold_back = 4;
    config.judge_from = 4;
    config.keep = 8;
#endif
    return config;
}

void acc_detector_reset(acc_device *d) {
    if (d->config.detector == ACC_PAGE_HINKLEY) acc_page_hinkley_reset(&d->detector.page_hinkley);
    else acc_adwin_reset(&d->detector.adwin);
}

void acc_run(acc_device *d, const uint8_t *blob) {
    d->blob = blob;
    d->warned = 0;
    d->watched = 0;
#if ACC_CARRY
    d->has_row = 0;
#endif
#if ACC_MOMENTS
    acc_forget_seen(d); /* they are of another body */
#endif
    acc_detector_reset(d);
    acc_start(d);
    if (d->config.flash.page && acc_load(d) == ACC_FLASH) acc_count(&d->counts.lost_states, 1);
}

int acc_begin(acc_device *d, const acc_config *config) {
    memset(d, 0, sizeof *d);
    d->config = *config;
    const uint8_t *blob = acc_newest(d);
    if (!blob) return ACC_NO_WEIGHTS;
    acc_run(d, blob);
    return ACC_OK;
}

uint32_t acc_counter(const acc_device *d) { return d->blob ? acc_header_of(d)->counter : 0; }
uint32_t acc_version(const acc_device *d) { return d->blob ? acc_header_of(d)->version : 0; }

static int finite_outputs(const acc_device *d) {
    for (int c = 0; c < ACC_OUTPUTS; c++)
        if (!isfinite(d->outputs[c])) return 0;
    return 1;
}

static int best(const acc_device *d) {
    int top = 0;
    for (int c = 1; c < ACC_OUTPUTS; c++)
        if (d->outputs[c] > d->outputs[top]) top = c;
    return top;
}

void acc_start_afresh(acc_device *d) {
    acc_start(d);
    acc_detector_reset(d);
    d->warned = 0;
    acc_count(&d->counts.resets, 1);
    acc_forget_saved(d);
}

/* What was learnt, and what it was learnt from, is forgotten. */
static void leave(acc_device *d) {
#if ACC_GRADIENT
    acc_forget_examples(d);
#elif ACC_MOMENTS
    acc_forget_seen(d);
#endif
    acc_start_afresh(d);
}

int acc_reset(acc_device *d) {
    if (!d->blob) return ACC_NO_WEIGHTS;
    leave(d);
    return ACC_OK;
}

static void watch_inputs(acc_device *d) {
    float features[ACC_SHIFT];
    const uint8_t warned = d->shift.warning;
    acc_shift_features(d, features);
    acc_shift_update(&d->shift, features);
    if (d->shift.drift) d->news = 2;
    else if (d->shift.warning && !warned) d->news = 1;
}

int acc_predict(acc_device *d, const acc_real *x, float *outputs) {
    const int refused = acc_prepare(d, x);
    if (refused) return refused;
    acc_answer(d, 0);
    if (!finite_outputs(d) && d->state.learnt) {
        acc_count(&d->counts.fallbacks, 1);
        leave(d);
        acc_answer(d, 0);
    }
    if (!finite_outputs(d)) {
        acc_count(&d->counts.bad_inputs, 1);
        return ACC_UNUSABLE;
    }
    acc_count(&d->counts.predictions, 1);
    if (++d->watched >= d->config.watch_every) {
        d->watched = 0;
        watch_inputs(d);
    }
    if (outputs) {
        memcpy(outputs, d->outputs, sizeof d->outputs);
#if !ACC_CLASSES
        const float *numbers = acc_numbers(d);
        for (int c = 0; c < ACC_OUTPUTS; c++)
            outputs[c] = outputs[c] * numbers[ACC_AT_TARGET_SCALE + c] + numbers[ACC_AT_TARGET_MEAN + c];
#endif
    }
    return ACC_CLASSES ? best(d) : ACC_OK;
}

/* Whether drift of the inputs, found since the last label, asks for more than counting. */
static int shifted(acc_device *d) {
    const uint8_t news = d->news;
    d->news = 0;
    acc_count(&d->counts.warnings, news == 1);
    acc_count(&d->counts.drifts, news == 2);
    return news == 2 && d->config.reopen_on_shift;
}

float acc_loss(const acc_device *d, const float *target) {
    float sum = 0.0f;
#if ACC_CLASSES
    float right = 0.0f;
    const int top = best(d);
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        sum += expf(d->outputs[c] - d->outputs[top]);
        if (target[c] > 0.5f) right = d->outputs[c];
    }
    return logf(sum) + d->outputs[top] - right;
#else
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        const float gap = fabsf(d->outputs[c] - target[c]);
#if ACC_LOSS == 1
        sum += gap * gap;
#elif ACC_LOSS == 3
        sum += gap < 1.0f ? 0.5f * gap * gap : gap - 0.5f;
#else
        sum += gap;
#endif
    }
    return sum / (float)ACC_OUTPUTS;
#endif
}

/* Let the detector see the loss; what it asks for. */
static int watch_loss(acc_device *d, const float *target) {
    const float loss = acc_loss(d, target);
    if (!isfinite(loss)) return 0;
    acc_sketch_add(d->state.adapted ? &d->adapted_loss : &d->start_loss, loss);
#if ACC_CLASSES
    acc_count(&d->counts.mistakes, target[best(d)] < 0.5f);
    const double bounded = 1.0 - exp(-(double)loss);
#else
    const double bounded = (double)loss / (1.0 + (double)loss);
#endif
    int drift, warning;
    if (d->config.detector == ACC_PAGE_HINKLEY) {
        acc_page_hinkley_update(&d->detector.page_hinkley, bounded);
        drift = d->detector.page_hinkley.drift;
        warning = d->detector.page_hinkley.warning;
    } else {
        acc_adwin_update(&d->detector.adwin, bounded);
        drift = d->detector.adwin.drift;
        warning = d->detector.adwin.warning;
    }
    if (drift) {
        acc_count(&d->counts.drifts, 1);
        d->warned = 0;
        return d->config.reopen_on_drift ? ACC_ANEW : 0;
    }
    const uint8_t warned = d->warned;
    d->warned = (uint8_t)warning;
    if (!warning || warned) return 0;
    acc_count(&d->counts.warnings, 1);
    return d->config.reopen_on_warning ? ACC_HURRY : 0;
}

static int learn(acc_device *d, const acc_real *x, int32_t label, const float *values, const float *target) {
    const int refused = acc_prepare(d, x);
    if (refused) return refused;
    const int inputs = shifted(d);
    acc_answer(d, 1);
    int response = watch_loss(d, target);
    if (!response && inputs) response = ACC_ANEW;
#if ACC_CARRY
    x = d->last_row;
#endif
    acc_take(d, x, label, values, target, response);
    return ACC_OK;
}

#if !ACC_CLASSES
void acc_normalize_values(const acc_device *d, const float *values, float *to) {
    const float *numbers = acc_numbers(d);
    for (int c = 0; c < ACC_OUTPUTS; c++)
        to[c] = (values[c] - numbers[ACC_AT_TARGET_MEAN + c]) / numbers[ACC_AT_TARGET_SCALE + c];
}
#endif

#if ACC_CLASSES
int acc_learn(acc_device *d, const acc_real *x, int32_t label) {
    float target[ACC_OUTPUTS];
    if (label < 0 || label >= ACC_OUTPUTS) {
        acc_count(&d->counts.bad_labels, 1);
        return ACC_BAD_LABEL;
    }
    for (int c = 0; c < ACC_OUTPUTS; c++) target[c] = c == label ? 1.0f : 0.0f;
    return learn(d, x, label, 0, target);
}
#else
int acc_learn(acc_device *d, const acc_real *x, const float *values) {
    float target[ACC_OUTPUTS];
    if (!d->blob) return ACC_NO_WEIGHTS;
    for (int c = 0; c < ACC_OUTPUTS; c++) {
        if (!isfinite(values[c])) {
            acc_count(&d->counts.bad_labels, 1);
            return ACC_BAD_LABEL;
        }
    }
    acc_normalize_values(d, values, target);
    return learn(d, x, 0, values, target);
}
#endif
