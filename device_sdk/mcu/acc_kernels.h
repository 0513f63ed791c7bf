/* What generated models call: loops over strided arrays of at most four axes. */
#ifndef ACC_KERNELS_H
#define ACC_KERNELS_H

#include <math.h>
#include <stdint.h>

/* a b + c in one rounding, where the processor does it at once. A double holds the product of two floats whole, but the
 * sum is rounded twice there, to a double and then to a float. Emulated it would cost more than it gives. */
static inline float acc_fused(float a, float b, float c) {
#if defined __ARM_FEATURE_FMA || defined __FMA__ || defined __aarch64__
    return fmaf(a, b, c);
#elif defined __SSE2_MATH__
    return (float)((double)a * (double)b + (double)c);
#else
    return a * b + c;
#endif
}

typedef struct { int32_t size[4], out[4], a[4], b[4]; } acc_axes; /* sizes and strides; 0 broadcasts */
/* of comparisons 1 is true, 0 is not */
typedef enum {
    ACC_ADD, ACC_SUB, ACC_MUL, ACC_DIV, ACC_POW, ACC_MAX, ACC_MIN,
    ACC_ABOVE, ACC_AT_LEAST, ACC_BELOW, ACC_AT_MOST, ACC_EQUAL
} acc_two;
typedef enum { ACC_COPY, ACC_RELU, ACC_SQRT, ACC_EXP, ACC_LOG, ACC_TANH, ACC_SIGMOID, ACC_NEGATE, ACC_ABS, ACC_RECIPROCAL, ACC_ERF, ACC_SIGN, ACC_NOT } acc_one;
typedef enum { ACC_SUM, ACC_MEAN_OF, ACC_LARGEST, ACC_PLACE } acc_fold; /* of a pool: the place of the largest */
/* Of a convolution or pooling: examples, channels in and out of a group, then height and width. */
typedef struct {
    int32_t batch, groups, in, out, in_size[2], out_size[2], kernel[2], stride[2], pad[2], dilation[2];
} acc_window;

void acc_map_two(acc_two op, float *out, const float *a, const float *b, const acc_axes *axes);
void acc_map_one(acc_one op, float *out, const float *a, const acc_axes *axes);
/* Fold all of `axes` whose stride in `out` is 0. */
void acc_reduce(acc_fold op, float *out, const float *a, const acc_axes *axes);
/* out (m, n) = a (m, k) b (k, n); strides by row and column of a and b. `bias`: strides too, or 0. */
typedef struct { int32_t m, k, n, a_row, a_column, b_row, b_column, bias_row, bias_column; } acc_product;
void acc_matmul(float *out, const float *a, const float *b, const float *bias, const acc_product *shape);
/* a where `which` is not 0, else b */
typedef struct { int32_t size[4], out[4], a[4], b[4], c[4]; } acc_choice;
void acc_choose(float *out, const float *which, const float *a, const float *b, const acc_choice *axes);
/* `count` places of each row of a table, `at` says which: add or write there, or read them. */
typedef struct { int32_t rows, count, row, at_row, value_row, column, at_column, value_column; } acc_rows;
void acc_scatter(int adds, float *table, const float *at, const float *values, const acc_rows *shape);
void acc_gather(float *out, const float *at, const float *table, const acc_rows *shape);
/* to -= scale * gone */
void acc_descend(float *to, const float *gone, float scale, const acc_axes *axes);
void acc_convolve(float *out, const float *x, const float *weight, const float *bias, const acc_window *window);
/* The transposed convolution, of one group: weights are (in, out, kernel). */
void acc_convolve_back(float *out, const float *x, const float *weight, const float *bias, const acc_window *window);
void acc_pool(acc_fold op, float *out, const float *x, const acc_window *window);

#endif
