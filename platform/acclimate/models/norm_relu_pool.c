/* Batch-statistics norm, ReLU and max pooling in one pass, with its first and second derivative.
 *
 * Tensors are channels-last: u is (n, h, w, c) and pooled tensors are (n, h / ph, w / pw, c). Each channel is
 * normalized on its own, so tasks folded into the channel axis stay apart. `where` holds the place of the maximum
 * in its window (row major), or -1 where ReLU is dead. Derivations stand beside the Python that calls this.
 * Sums run over 32 rows in REAL and then in double, so that their rounding does not grow with n * h * w.
 */
#ifndef REAL
#define REAL float
#define NAME(stem) stem##_float32
#include __FILE__
#undef REAL
#undef NAME
#define REAL double
#define NAME(stem) stem##_float64
#include __FILE__
#else

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef SHARED_PART
#define SHARED_PART
typedef struct { long n, h, w, c, ph, pw; } Shape;
static long pooled_row(Shape s, long row, long *place) /* -1 where no window covers the row */
{
    long x = row % s.w, y = row / s.w % s.h, image = row / (s.w * s.h), hp = s.h / s.ph, wp = s.w / s.pw;
    *place = y % s.ph * s.pw + x % s.pw;
    return y / s.ph < hp && x / s.pw < wp ? (image * hp + y / s.ph) * wp + x / s.pw : -1;
}
#endif

#define EACH _Pragma("omp simd") for (long i = 0; i < c; i++)

static void NAME(flush)(long c, REAL *restrict part, double *restrict total)
{
    EACH { total[i] += part[i]; part[i] = 0; }
}

void NAME(forward)(Shape s, REAL eps, const REAL *u, const REAL *restrict weight, const REAL *restrict bias,
                   REAL *restrict mean, REAL *restrict inverse, REAL *pooled, REAL *where)
{
    long c = s.c, rows = s.n * s.h * s.w, place;
    REAL *restrict part = calloc(2 * c, sizeof(REAL)), *restrict square = part + c;
    double *restrict total = calloc(2 * c, sizeof(double));
    for (long row = 0; row < rows; row++) { /* shifted by the first row, which spares the cancellation */
        const REAL *restrict now = u + row * c;
        EACH { REAL d = now[i] - u[i]; part[i] += d; square[i] += d * d; }
        if (row % 32 == 31 || row == rows - 1) {
            NAME(flush)(c, part, total);
            NAME(flush)(c, square, total + c);
        }
    }
    for (long i = 0; i < c; i++) {
        double d = total[i] / rows;
        mean[i] = u[i] + d;
        inverse[i] = 1 / sqrt(total[c + i] / rows - d * d + eps);
    }
    free(part);
    free(total);
    for (long row = 0; row < rows; row++) {
        long at = pooled_row(s, row, &place);
        if (at < 0) continue;
        const REAL *restrict now = u + row * c;
        REAL *restrict best = pooled + at * c, *restrict which = where + at * c, here = place;
        if (place == 0)
            EACH { best[i] = (now[i] - mean[i]) * inverse[i] * weight[i] + bias[i]; which[i] = 0; }
        else
            EACH {
                REAL z = (now[i] - mean[i]) * inverse[i] * weight[i] + bias[i];
                int more = z > best[i];
                which[i] = more ? here : which[i];
                best[i] = more ? z : best[i];
            }
        if (place == s.ph * s.pw - 1)
            EACH { int dead = best[i] <= 0; which[i] = dead ? -1 : which[i]; best[i] = dead ? 0 : best[i]; }
    }
}

void NAME(backward)(Shape s, const REAL *gradient, const REAL *where, const REAL *u, const REAL *restrict weight,
                    const REAL *restrict mean, const REAL *restrict inverse,
                    REAL *out, REAL *restrict out_weight, REAL *restrict out_bias)
{
    long c = s.c, rows = s.n * s.h * s.w, place;
    REAL *restrict part = calloc(4 * c, sizeof(REAL)), *restrict product = part + c;
    REAL *restrict scale = part + 2 * c, *restrict slope = part + 3 * c;
    double *restrict total = calloc(2 * c, sizeof(double));
    for (long row = 0; row < rows; row++) {
        long at = pooled_row(s, row, &place);
        if (at >= 0) {
            const REAL *restrict now = u + row * c, *restrict g = gradient + at * c, *restrict which = where + at * c;
            REAL here = place;
            EACH { REAL q = which[i] == here ? g[i] : 0; part[i] += q; product[i] += q * (now[i] - mean[i]); }
        }
        if (row % 32 == 31 || row == rows - 1) {
            NAME(flush)(c, part, total);
            NAME(flush)(c, product, total + c);
        }
    }
    for (long i = 0; i < c; i++) {
        out_bias[i] = total[i];
        out_weight[i] = total[c + i] * inverse[i];
        scale[i] = weight[i] * inverse[i];
        part[i] = total[i] / rows;
        slope[i] = out_weight[i] / rows * inverse[i];
    }
    for (long row = 0; row < rows; row++) {
        long at = pooled_row(s, row, &place);
        const REAL *restrict now = u + row * c;
        REAL *restrict to = out + row * c;
        if (at < 0) {
            EACH to[i] = scale[i] * (-part[i] - (now[i] - mean[i]) * slope[i]);
            continue;
        }
        const REAL *restrict g = gradient + at * c, *restrict which = where + at * c;
        REAL here = place;
        EACH {
            REAL q = which[i] == here ? g[i] : 0;
            to[i] = scale[i] * (q - part[i] - (now[i] - mean[i]) * slope[i]);
        }
    }
    free(part);
    free(total);
}

void NAME(double_backward)(Shape s, const REAL *v, const REAL *restrict a, const REAL *restrict b, const REAL *gradient,
                           const REAL *where, const REAL *u, const REAL *restrict weight, const REAL *restrict mean,
                           const REAL *restrict inverse, const REAL *restrict sum_weight, const REAL *restrict sum_bias,
                           REAL *out_gradient, REAL *out_u, REAL *restrict out_weight)
{
    long c = s.c, rows = s.n * s.h * s.w, place;
    REAL *restrict part = calloc(9 * c, sizeof(REAL)), *restrict vx = part + c, *restrict vq = part + 2 * c;
    REAL *restrict scale = part + 3 * c, *restrict by_v = part + 4 * c, *restrict by_q = part + 5 * c;
    REAL *restrict by_x = part + 6 * c, *restrict rest = part + 7 * c, *restrict to_x = part + 8 * c;
    double *restrict total = calloc(3 * c, sizeof(double));
    for (long row = 0; row < rows; row++) {
        long at = pooled_row(s, row, &place);
        const REAL *restrict now = u + row * c, *restrict vn = v + row * c;
        EACH { part[i] += vn[i]; vx[i] += vn[i] * (now[i] - mean[i]); }
        if (at >= 0) {
            const REAL *restrict g = gradient + at * c, *restrict which = where + at * c;
            REAL here = place;
            EACH vq[i] += which[i] == here ? vn[i] * g[i] : 0;
        }
        if (row % 32 == 31 || row == rows - 1) {
            NAME(flush)(c, part, total);
            NAME(flush)(c, vx, total + c);
            NAME(flush)(c, vq, total + 2 * c);
        }
    }
    for (long i = 0; i < c; i++) {
        double r = inverse[i], m1 = (double)sum_bias[i] / rows, m2 = (double)sum_weight[i] / rows;
        double mean_v = total[i] / rows, mean_vx = total[c + i] / rows * r, A = weight[i] * r;
        double D = total[2 * c + i] / rows - mean_v * m1 - mean_vx * m2;
        double on_v = -A * m2, on_q = a[i] - A * mean_vx;
        double hx = on_v * mean_vx + on_q * m2 + A * D;
        out_weight[i] = r * D * rows;
        scale[i] = A;
        part[i] = b[i] - A * mean_v;
        to_x[i] = on_q * r; /* a - A mean_vx, on (u - mean) */
        by_v[i] = r * on_v;
        by_q[i] = r * on_q;
        by_x[i] = -r * hx * r;
        rest[i] = -r * (on_v * mean_v + on_q * m1);
    }
    for (long row = 0; row < rows; row++) {
        long at = pooled_row(s, row, &place);
        const REAL *restrict now = u + row * c, *restrict vn = v + row * c;
        REAL *restrict to = out_u + row * c;
        EACH to[i] = by_v[i] * vn[i] + by_x[i] * (now[i] - mean[i]) + rest[i];
        if (at < 0) continue;
        const REAL *restrict g = gradient + at * c, *restrict which = where + at * c;
        REAL *restrict back = out_gradient + at * c, here = place;
        EACH {
            int hit = which[i] == here;
            to[i] += hit ? by_q[i] * g[i] : 0;
            REAL value = scale[i] * vn[i] + to_x[i] * (now[i] - mean[i]) + part[i];
            back[i] = hit ? value : back[i];
        }
    }
    free(part);
    free(total);
}
#endif
