/* Detectors, as in acclimate_device.drift: the same constants, the same order of sums, double where the SDK has it. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

/* ---- ADWIN (Bifet and Gavalda 2007), checked every 8 labels, for a rising mean */

enum { CLOCK = 8, SHORTEST = 5, GRACE = 10 };
static const double DELTA = 0.002, WARNING_DELTA = 0.02;

void acc_adwin_reset(acc_adwin *w) { memset(w, 0, sizeof *w); }

static int top_row(const acc_adwin *w) {
    int row = ACC_ADWIN_ROWS - 1;
    while (row > 0 && !w->counts[row]) row--;
    return row;
}

static int differs(const acc_adwin *w, double delta, int rising_only) {
    if (w->width < 2 * SHORTEST) return 0;
    const double confidence = log(2.0 * log((double)w->width) / delta);
    const double spread = 2.0 * (w->squares / (double)w->width) * confidence, bias = 2.0 / 3.0 * confidence;
    uint32_t old_count = 0;
    double old_total = 0.0;
    for (int row = top_row(w); row >= 0; row--)
        for (int i = 0; i < w->counts[row]; i++) {
            old_count += 1u << row;
            old_total += w->rows[row][i].total;
            const uint32_t new_count = w->width - old_count;
            if (new_count < SHORTEST) return 0;
            if (old_count < SHORTEST) continue;
            double gap = (w->total - old_total) / (double)new_count - old_total / (double)old_count;
            if (gap < 0.0) {
                if (rising_only) continue;
                gap = -gap;
            }
            const double inverse =
                1.0 / (double)(old_count - SHORTEST + 1) + 1.0 / (double)(new_count - SHORTEST + 1);
            if (gap > sqrt(spread * inverse) + bias * inverse) return 1;
        }
    return 0;
}

static void drop_oldest(acc_adwin *w) {
    const int row = top_row(w);
    const double size = (double)(1u << row), total = w->rows[row][0].total;
    const double squares = w->rows[row][0].squares;
    w->counts[row]--;
    memmove(&w->rows[row][0], &w->rows[row][1], sizeof(acc_bucket) * w->counts[row]);
    w->width -= 1u << row;
    w->total -= total;
    if (w->width) {
        const double gap = total / size - w->total / (double)w->width;
        w->squares -= squares + size * (double)w->width * gap * gap / (size + (double)w->width);
        if (w->squares < 0.0) w->squares = 0.0;
    }
}

static void merge(acc_adwin *w) {
    for (int row = 0; row < ACC_ADWIN_ROWS && w->counts[row] > ACC_ADWIN_BUCKETS; row++) {
        if (row + 1 == ACC_ADWIN_ROWS) { /* 20,475 labels: the oldest are forgotten */
            drop_oldest(w);
            return;
        }
        const acc_bucket a = w->rows[row][0], b = w->rows[row][1];
        const double gap = a.total - b.total;
        w->counts[row] = (uint8_t)(w->counts[row] - 2);
        memmove(&w->rows[row][0], &w->rows[row][2], sizeof(acc_bucket) * w->counts[row]);
        acc_bucket *to = &w->rows[row + 1][w->counts[row + 1]++];
        to->total = a.total + b.total;
        to->squares = a.squares + b.squares + gap * gap / (2.0 * (double)(1u << row));
    }
}

void acc_adwin_update(acc_adwin *w, double x) {
    if (w->drift) acc_adwin_reset(w);
    if (w->width) {
        const double gap = x - w->total / (double)w->width;
        w->squares += (double)w->width * (gap * gap) / (double)(w->width + 1);
    }
    w->width++;
    w->total += x;
    acc_bucket *to = &w->rows[0][w->counts[0]++];
    to->total = x;
    to->squares = 0.0;
    merge(w);
    if (++w->ticks % CLOCK || w->width <= GRACE) return;
    const double before = w->total / (double)w->width;
    int changed = 0;
    while (differs(w, DELTA, 0)) {
        changed = 1;
        drop_oldest(w);
    }
    w->drift = (uint8_t)(changed && w->total / (double)w->width > before);
    w->warning = (uint8_t)(!changed && differs(w, WARNING_DELTA, 1));
}

/* ---- Page-Hinkley (Page 1954): both ways, as the SDK's defaults */

static const double PH_DELTA = 0.005, PH_THRESHOLD = 50.0, PH_ALPHA = 1 - 0.0001;
enum { PH_LEAST = 30 };

void acc_page_hinkley_reset(acc_page_hinkley *t) {
    memset(t, 0, sizeof *t);
    t->lowest = INFINITY;
    t->highest = -1.0;
}

void acc_page_hinkley_update(acc_page_hinkley *t, double x) {
    if (t->drift) acc_page_hinkley_reset(t);
    if (t->count != UINT32_MAX) t->count++;
    t->mean += (x - t->mean) / (double)t->count;
    const double deviation = x - t->mean;
    t->rise = PH_ALPHA * t->rise + deviation - PH_DELTA;
    t->fall = PH_ALPHA * t->fall + deviation + PH_DELTA;
    if (t->rise < t->lowest) t->lowest = t->rise;
    if (t->fall > t->highest) t->highest = t->fall;
    if (t->count < PH_LEAST) return;
    double change = t->rise - t->lowest;
    if (t->highest - t->fall > change) change = t->highest - t->fall;
    t->drift = (uint8_t)(change > PH_THRESHOLD);
    t->warning = (uint8_t)(!t->drift && change > PH_THRESHOLD * 0.5);
}

/* ---- a shift of the inputs: block means against the device's own past, without a clock */

enum { BLOCK = 4, MOST = 1000 };
static const float SMALLEST = 0.15f, DEVIATIONS = 8.0f, PEAKS = 1.5f, WARNING_SHARE = 0.7f, FADE = 0.998f;

void acc_shift_reset(acc_shift *s) {
    const uint8_t told = s->told;
    memset(s, 0, sizeof *s);
    s->told = told;
}

static void learn_block(acc_shift *s, const float *means, const float *gaps) {
    if (s->blocks < MOST) s->blocks++;
    if (s->filled) {
        const float share = 1.0f / (float)s->blocks;
        for (int i = 0; i < ACC_SHIFT; i++) {
            /* a shift is two blocks in a row: what one alone does says nothing of these */
            const float gap = s->has_last && s->last[i] < gaps[i] ? s->last[i] : gaps[i];
            s->last[i] = gaps[i];
            s->squares[i] += (gap * gap - s->squares[i]) * share;
            s->peaks[i] = FADE * s->peaks[i] > gap ? FADE * s->peaks[i] : gap;
        }
        s->has_last = 1;
    }
    memcpy(s->lately[s->next], means, sizeof s->lately[0]);
    s->next = (uint8_t)((s->next + 1) % ACC_SHIFT_BLOCKS);
    if (s->filled < ACC_SHIFT_BLOCKS) s->filled++;
}

static void end_block(acc_shift *s) {
    float means[ACC_SHIFT], gaps[ACC_SHIFT];
    s->distance = 0.0f;
    for (int i = 0; i < ACC_SHIFT; i++) {
        means[i] = s->sums[i] / (float)s->in_block;
        gaps[i] = 0.0f;
        if (!s->filled) continue;
        double past = 0.0;
        for (int j = 0; j < s->filled; j++) past += (double)s->lately[j][i];
        gaps[i] = fabsf(means[i] - (float)(past / (double)s->filled));
        float limit = SMALLEST;
        if (DEVIATIONS * sqrtf(s->squares[i]) > limit) limit = DEVIATIONS * sqrtf(s->squares[i]);
        if (PEAKS * s->peaks[i] > limit) limit = PEAKS * s->peaks[i];
        if (gaps[i] / limit > s->distance) s->distance = gaps[i] / limit;
    }
    memset(s->sums, 0, sizeof s->sums);
    s->in_block = 0;
    s->beyond = (uint8_t)(s->distance > 1.0f ? (s->beyond < 255 ? s->beyond + 1 : 255) : 0);
    if (s->blocks >= ACC_SHIFT_BLOCKS) s->told = 0;
    const int ready = s->blocks >= ACC_SHIFT_BLOCKS;
    s->drift = (uint8_t)(ready && s->beyond >= 2);
    s->warning = (uint8_t)(ready && !s->drift && s->distance > WARNING_SHARE);
    if (s->beyond == 1 && ready) return; /* the next block decides what this one was */
    learn_block(s, means, gaps);
}

void acc_shift_update(acc_shift *s, const float *features) {
    if (s->drift) {
        acc_shift_reset(s);
        s->told = 1;
    }
    for (int i = 0; i < ACC_SHIFT; i++) s->sums[i] += features[i];
    if (++s->in_block == BLOCK) end_block(s);
}
