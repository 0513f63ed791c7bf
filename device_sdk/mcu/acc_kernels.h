/* What generated models call: loops over strided arrays of at most four axes. */
#ifndef ACC_KERNELS_H
#define ACC_KERNELS_H

#include <stdint.h>

typedef struct { int32_t size[4], out[4], a[4], b[4]; } acc_axes; /* sizes and strides; 0 broadcasts */
typedef enum { ACC_ADD, ACC_SUB, ACC_MUL, ACC_DIV, ACC_POW, ACC_MAX, ACC_MIN } acc_two;
typedef enum { ACC_COPY, ACC_RELU, ACC_SQRT, ACC_EXP, ACC_LOG, ACC_TANH, ACC_SIGMOID, ACC_NEGATE, ACC_ABS, ACC_RECIPROCAL, ACC_ERF } acc_one;
typedef enum { ACC_SUM, ACC_MEAN_OF, ACC_LARGEST } acc_fold;
/* Of a convolution or pooling: channels in and out of a group, then height and width. */
typedef struct {
    int32_t groups, in, out, in_size[2], out_size[2], kernel[2], stride[2], pad[2], dilation[2];
} acc_window;

void acc_map_two(acc_two op, float *out, const float *a, const float *b, const acc_axes *axes);
void acc_map_one(acc_one op, float *out, const float *a, const acc_axes *axes);
/* Fold all of `axes` whose stride in `out` is 0. */
void acc_reduce(acc_fold op, float *out, const float *a, const acc_axes *axes);
/* out (m, n) = a (m, k) b (k, n); strides by row and column of a and b. `bias`: strides too, or 0. */
typedef struct { int32_t m, k, n, a_row, a_column, b_row, b_column, bias_row, bias_column; } acc_product;
void acc_matmul(float *out, const float *a, const float *b, const float *bias, const acc_product *shape);
void acc_convolve(float *out, const float *x, const float *weight, const float *bias, const acc_window *window);
void acc_pool(acc_fold op, float *out, const float *x, const acc_window *window);

#endif
