/* Plain loops: small, one copy for all layers of a network. */
#include "acc_kernels.h"

#include <math.h>

static float two(acc_two op, float a, float b) {
    switch (op) {
    case ACC_ADD: return a + b;
    case ACC_SUB: return a - b;
    case ACC_MUL: return a * b;
    case ACC_DIV: return a / b;
    case ACC_POW: return b == 2.0f ? a * a : powf(a, b);
    case ACC_MAX: return a > b ? a : b;
    case ACC_MIN:
    default: return a < b ? a : b;
    }
}

static float one(acc_one op, float a) {
    switch (op) {
    case ACC_RELU: return a > 0.0f ? a : 0.0f;
    case ACC_SQRT: return sqrtf(a);
    case ACC_EXP: return expf(a);
    case ACC_LOG: return logf(a);
    case ACC_TANH: return tanhf(a);
    case ACC_SIGMOID: return 1.0f / (1.0f + expf(-a));
    case ACC_NEGATE: return -a;
    case ACC_ABS: return fabsf(a);
    case ACC_RECIPROCAL: return 1.0f / a;
    case ACC_ERF: return erff(a);
    case ACC_COPY:
    default: return a;
    }
}

void acc_map_two(acc_two op, float *out, const float *a, const float *b, const acc_axes *at) {
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++) {
                float *o = out + i * at->out[0] + j * at->out[1] + k * at->out[2];
                const float *p = a + i * at->a[0] + j * at->a[1] + k * at->a[2];
                const float *q = b + i * at->b[0] + j * at->b[1] + k * at->b[2];
                for (int32_t l = 0; l < at->size[3]; l++)
                    o[l * at->out[3]] = two(op, p[l * at->a[3]], q[l * at->b[3]]);
            }
}

void acc_map_one(acc_one op, float *out, const float *a, const acc_axes *at) {
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++) {
                float *o = out + i * at->out[0] + j * at->out[1] + k * at->out[2];
                const float *p = a + i * at->a[0] + j * at->a[1] + k * at->a[2];
                for (int32_t l = 0; l < at->size[3]; l++) o[l * at->out[3]] = one(op, p[l * at->a[3]]);
            }
}

void acc_reduce(acc_fold op, float *out, const float *a, const acc_axes *at) {
    float count = 1.0f;
    for (int32_t axis = 0; axis < 4; axis++)
        if (at->out[axis] == 0) count *= (float)at->size[axis];
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++)
                for (int32_t l = 0; l < at->size[3]; l++) {
                    float *o = out + i * at->out[0] + j * at->out[1] + k * at->out[2] + l * at->out[3];
                    float v = a[i * at->a[0] + j * at->a[1] + k * at->a[2] + l * at->a[3]];
                    /* the first value of each: every folded axis is at its beginning */
                    int first = (at->out[0] || !i) && (at->out[1] || !j) && (at->out[2] || !k) && (at->out[3] || !l);
                    if (first) *o = v;
                    else if (op == ACC_LARGEST) *o = v > *o ? v : *o;
                    else *o += v;
                }
    if (op != ACC_MEAN_OF) return;
    for (int32_t i = 0; i < (at->out[0] ? at->size[0] : 1); i++)
        for (int32_t j = 0; j < (at->out[1] ? at->size[1] : 1); j++)
            for (int32_t k = 0; k < (at->out[2] ? at->size[2] : 1); k++)
                for (int32_t l = 0; l < (at->out[3] ? at->size[3] : 1); l++)
                    out[i * at->out[0] + j * at->out[1] + k * at->out[2] + l * at->out[3]] /= count;
}

void acc_matmul(float *out, const float *a, const float *b, const float *bias, const acc_product *s) {
    for (int32_t i = 0; i < s->m; i++)
        for (int32_t j = 0; j < s->n; j++) {
            const float *p = a + i * s->a_row, *q = b + j * s->b_column;
            float sum = 0.0f;
            for (int32_t k = 0; k < s->k; k++) sum += p[k * s->a_column] * q[k * s->b_row];
            out[i * s->n + j] = bias ? sum + bias[i * s->bias_row + j * s->bias_column] : sum;
        }
}

/* Where a kernel meets the input along one axis: the first and one past the last of its taps. */
static void taps(const acc_window *w, int axis, int32_t at, int32_t *from, int32_t *first, int32_t *last) {
    *from = at * w->stride[axis] - w->pad[axis];
    *first = 0;
    while (*first < w->kernel[axis] && *from + *first * w->dilation[axis] < 0) (*first)++;
    *last = w->kernel[axis];
    while (*last > *first && *from + (*last - 1) * w->dilation[axis] >= w->in_size[axis]) (*last)--;
}

void acc_convolve(float *out, const float *x, const float *weight, const float *bias, const acc_window *w) {
    const int32_t plane = w->in_size[0] * w->in_size[1], taps_all = w->kernel[0] * w->kernel[1];
    for (int32_t c = 0; c < w->groups * w->out; c++) {
        const float *group = x + (c / w->out) * w->in * plane;
        for (int32_t i = 0; i < w->out_size[0]; i++)
            for (int32_t j = 0; j < w->out_size[1]; j++) {
                int32_t y, y0, y1, z, z0, z1;
                float sum = bias ? bias[c] : 0.0f;
                taps(w, 0, i, &y, &y0, &y1);
                taps(w, 1, j, &z, &z0, &z1);
                for (int32_t k = 0; k < w->in; k++)
                    for (int32_t r = y0; r < y1; r++) {
                        const float *row = group + k * plane + (y + r * w->dilation[0]) * w->in_size[1] + z;
                        const float *tap = weight + (c * w->in + k) * taps_all + r * w->kernel[1];
                        for (int32_t s = z0; s < z1; s++) sum += row[s * w->dilation[1]] * tap[s];
                    }
                *out++ = sum;
            }
    }
}

void acc_pool(acc_fold op, float *out, const float *x, const acc_window *w) {
    const int32_t plane = w->in_size[0] * w->in_size[1];
    for (int32_t c = 0; c < w->groups; c++)
        for (int32_t i = 0; i < w->out_size[0]; i++)
            for (int32_t j = 0; j < w->out_size[1]; j++) {
                int32_t y, y0, y1, z, z0, z1;
                float found = op == ACC_LARGEST ? -INFINITY : 0.0f;
                taps(w, 0, i, &y, &y0, &y1);
                taps(w, 1, j, &z, &z0, &z1);
                for (int32_t r = y0; r < y1; r++)
                    for (int32_t s = z0; s < z1; s++) {
                        float v = x[c * plane + (y + r * w->dilation[0]) * w->in_size[1] + z + s * w->dilation[1]];
                        if (op == ACC_LARGEST) found = v > found ? v : found;
                        else found += v;
                    }
                *out++ = op == ACC_MEAN_OF ? found / (float)((y1 - y0) * (z1 - z0)) : found;
            }
}
