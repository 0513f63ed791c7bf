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
    case ACC_ABOVE: return a > b ? 1.0f : 0.0f;
    case ACC_AT_LEAST: return a >= b ? 1.0f : 0.0f;
    case ACC_BELOW: return a < b ? 1.0f : 0.0f;
    case ACC_AT_MOST: return a <= b ? 1.0f : 0.0f;
    case ACC_EQUAL: return a >= b && a <= b ? 1.0f : 0.0f;
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
    case ACC_SIGN: return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a;
    case ACC_NOT: return a > 0.0f ? 0.0f : 1.0f;
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

void acc_choose(float *out, const float *which, const float *a, const float *b, const acc_choice *at) {
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++) {
                float *o = out + i * at->out[0] + j * at->out[1] + k * at->out[2];
                const float *w = which + i * at->a[0] + j * at->a[1] + k * at->a[2];
                const float *p = a + i * at->b[0] + j * at->b[1] + k * at->b[2];
                const float *q = b + i * at->c[0] + j * at->c[1] + k * at->c[2];
                for (int32_t l = 0; l < at->size[3]; l++)
                    o[l * at->out[3]] = w[l * at->a[3]] > 0.0f ? p[l * at->b[3]] : q[l * at->c[3]];
            }
}

void acc_scatter(int adds, float *table, const float *at, const float *values, const acc_rows *s) {
    for (int32_t i = 0; i < s->rows; i++)
        for (int32_t j = 0; j < s->count; j++) {
            const int32_t place = (int32_t)at[i * s->at_row + j * s->at_column];
            float *to = table + i * s->row + place * s->column;
            *to = values[i * s->value_row + j * s->value_column] + (adds ? *to : 0.0f);
        }
}

void acc_gather(float *out, const float *at, const float *table, const acc_rows *s) {
    for (int32_t i = 0; i < s->rows; i++)
        for (int32_t j = 0; j < s->count; j++) {
            const int32_t place = (int32_t)at[i * s->at_row + j * s->at_column];
            out[i * s->value_row + j * s->value_column] = table[i * s->row + place * s->column];
        }
}

void acc_descend(float *to, const float *gone, float scale, const acc_axes *at) {
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++)
                for (int32_t l = 0; l < at->size[3]; l++)
                    to[i * at->out[0] + j * at->out[1] + k * at->out[2] + l * at->out[3]] -=
                        scale * gone[i * at->a[0] + j * at->a[1] + k * at->a[2] + l * at->a[3]];
}

/* Sixteen at a time: what rounding takes from a long sum grows with the parts, not with the numbers. */
static float folded(acc_fold op, const float *a, int32_t count, int32_t stride) {
    float all = op == ACC_LARGEST ? *a : 0.0f;
    while (count > 0) {
        float part = 0.0f;
        const int32_t some = count < 16 ? count : 16;
        for (int32_t l = 0; l < some; l++, a += stride) {
            if (op != ACC_LARGEST) part += *a;
            else if (*a > all) all = *a;
        }
        all += part;
        count -= some;
    }
    return all;
}

void acc_reduce(acc_fold op, float *out, const float *a, const acc_axes *at) {
    float count = 1.0f;
    const int32_t inner = at->out[3] ? 1 : at->size[3], outer = at->size[3] / inner;
    for (int32_t axis = 0; axis < 4; axis++)
        if (at->out[axis] == 0) count *= (float)at->size[axis];
    for (int32_t i = 0; i < at->size[0]; i++)
        for (int32_t j = 0; j < at->size[1]; j++)
            for (int32_t k = 0; k < at->size[2]; k++)
                for (int32_t l = 0; l < outer; l++) {
                    float *o = out + i * at->out[0] + j * at->out[1] + k * at->out[2] + l * at->out[3];
                    const float *p = a + i * at->a[0] + j * at->a[1] + k * at->a[2] + l * at->a[3];
                    const float v = folded(op, p, inner, at->a[3]);
                    /* the first of each: every folded axis is at its beginning */
                    const int first = (at->out[0] || !i) && (at->out[1] || !j) && (at->out[2] || !k);
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
    const int32_t right = s->a_column, down = s->b_row;
    for (int32_t i = 0; i < s->m; i++)
        for (int32_t j = 0; j < s->n; j++) {
            const float *p = a + i * s->a_row, *q = b + j * s->b_column;
            float sum = 0.0f;
            for (int32_t k = s->k; k > 0; k--, p += right, q += down) sum += *p * *q;
            *out++ = bias ? sum + bias[i * s->bias_row + j * s->bias_column] : sum;
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
    for (int32_t n = 0; n < w->batch * w->groups * w->out; n++) {
        const int32_t c = n % (w->groups * w->out);
        const float *group = x + (n / w->out) * w->in * plane;
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
                        row += z0 * w->dilation[1];
                        for (int32_t s = z0; s < z1; s++, row += w->dilation[1]) sum += *row * tap[s];
                    }
                *out++ = sum;
            }
    }
}

void acc_convolve_back(float *out, const float *x, const float *weight, const float *bias, const acc_window *w) {
    const int32_t plane = w->in_size[0] * w->in_size[1], taps_all = w->kernel[0] * w->kernel[1];
    (void)bias;
    for (int32_t n = 0; n < w->batch * w->out; n++)
        for (int32_t i = 0; i < w->out_size[0]; i++)
            for (int32_t j = 0; j < w->out_size[1]; j++) {
                float sum = 0.0f;
                for (int32_t r = 0; r < w->kernel[0]; r++) {
                    const int32_t y = i + w->pad[0] - r * w->dilation[0];
                    if (y < 0 || y % w->stride[0] || y / w->stride[0] >= w->in_size[0]) continue;
                    for (int32_t s = 0; s < w->kernel[1]; s++) {
                        const int32_t z = j + w->pad[1] - s * w->dilation[1];
                        if (z < 0 || z % w->stride[1] || z / w->stride[1] >= w->in_size[1]) continue;
                        const float *from = x + n / w->out * w->in * plane;
                        from += y / w->stride[0] * w->in_size[1] + z / w->stride[1];
                        const float *tap = weight + n % w->out * taps_all + r * w->kernel[1] + s;
                        for (int32_t k = 0; k < w->in; k++) sum += from[k * plane] * tap[k * w->out * taps_all];
                    }
                }
                *out++ = sum;
            }
}

void acc_pool(acc_fold op, float *out, const float *x, const acc_window *w) {
    const int32_t plane = w->in_size[0] * w->in_size[1];
    for (int32_t c = 0; c < w->groups; c++)
        for (int32_t i = 0; i < w->out_size[0]; i++)
            for (int32_t j = 0; j < w->out_size[1]; j++) {
                int32_t y, y0, y1, z, z0, z1;
                float found = op >= ACC_LARGEST ? -INFINITY : 0.0f;
                int32_t place = 0;
                taps(w, 0, i, &y, &y0, &y1);
                taps(w, 1, j, &z, &z0, &z1);
                for (int32_t r = y0; r < y1; r++)
                    for (int32_t s = z0; s < z1; s++) {
                        const int32_t at = c * plane + (y + r * w->dilation[0]) * w->in_size[1] + z + s * w->dilation[1];
                        if (op < ACC_LARGEST) found += x[at];
                        else if (x[at] > found) found = x[at], place = at;
                    }
                if (op == ACC_PLACE) *out++ = (float)place;
                else *out++ = op == ACC_MEAN_OF ? found / (float)((y1 - y0) * (z1 - z0)) : found;
            }
}
