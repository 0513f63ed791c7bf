/* Gradient steps on a support, judged by examples held back: acclimate_device.online.support and .adaptation. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

#if ACC_GRADIENT

static const float *start_of(const acc_device *d) { return acc_numbers(d) + ACC_AT_MOVING; }

void acc_start(acc_device *d) {
    memset(&d->state, 0, sizeof d->state);
    memcpy(d->state.params, start_of(d), sizeof d->state.params);
    d->since = 0;
}

static void outputs_of(acc_device *d, const float *params) {
    acc_outputs(acc_numbers(d), params, d->x, d->arena);
    memcpy(d->outputs, d->arena + ACC_OUT, sizeof d->outputs);
}

void acc_answer(acc_device *d, int all) {
    (void)all;
    outputs_of(d, d->state.adapted ? d->state.params : start_of(d));
}

/* ---- the support: by class the newest ACC_SHOTS examples, and ACC_HELD others to judge by */

/* The next place of a full or growing queue of places, oldest first. */
static acc_kept *room(acc_shelf *shelf, uint16_t *places, uint16_t *count, uint16_t most) {
    uint16_t place = 0;
    if (*count == most) {
        place = places[0];
        memmove(places, places + 1, sizeof *places * (most - 1u));
        (*count)--;
    } else {
        while (shelf->kept[place].order) place++;
    }
    places[(*count)++] = place;
    return &shelf->kept[place];
}

static acc_shelf *shelf_of(acc_device *d, int32_t label) {
    acc_shelf *shelf = &d->shelves[ACC_CLASSES ? label : 0];
    if (!shelf->begun) {
        shelf->begun = 1;
        d->turns[d->begun++] = (uint16_t)(ACC_CLASSES ? label : 0);
    }
    return shelf;
}

static void keep(acc_device *d, const acc_real *x, int32_t label, const float *values) {
    acc_shelf *shelf = shelf_of(d, label);
    const int held = ++shelf->seen % d->config.hold_back == 0;
    acc_kept *to = held ? room(shelf, shelf->held, &shelf->helds, ACC_HELD)
                        : room(shelf, shelf->support, &shelf->supports, ACC_SHOTS);
    to->order = ++d->order;
    memcpy(to->x, x, sizeof to->x);
#if !ACC_CLASSES
    memcpy(to->values, values, sizeof to->values);
#endif
    (void)values;
}

/* Forget all but the newest `number` examples; those go into the support, class by class as they came. */
static void keep_newest(acc_device *d, uint32_t number) {
    uint32_t oldest = d->order + 1; /* of what stays */
    for (; number && oldest > 1; number--) {
        uint32_t next = 0;
        for (int s = 0; s < ACC_SHELVES; s++)
            for (int i = 0; i < ACC_SHOTS + ACC_HELD; i++) {
                const uint32_t order = d->shelves[s].kept[i].order;
                if (order < oldest && order > next) next = order;
            }
        if (!next) break;
        oldest = next;
    }
    d->begun = 0;
    for (int s = 0; s < ACC_SHELVES; s++) {
        acc_shelf *shelf = &d->shelves[s];
        shelf->seen = 0;
        shelf->begun = 0;
        shelf->supports = shelf->helds = 0;
        for (int i = 0; i < ACC_SHOTS + ACC_HELD; i++)
            if (shelf->kept[i].order < oldest) shelf->kept[i].order = 0;
    }
    for (uint32_t last = 0;;) { /* what stays, in order */
        acc_shelf *shelf = 0;
        uint16_t place = 0;
        int32_t label = 0;
        for (int32_t l = 0; l < ACC_SHELVES; l++)
            for (uint16_t i = 0; i < ACC_SHOTS + ACC_HELD; i++) {
                const uint32_t order = d->shelves[l].kept[i].order;
                if (order > last && (!shelf || order < shelf->kept[place].order))
                    shelf = &d->shelves[l], place = i, label = l;
            }
        if (!shelf) return;
        last = shelf->kept[place].order;
        (void)shelf_of(d, label);
        if (shelf->supports == ACC_SHOTS) {
            shelf->kept[shelf->support[0]].order = 0;
            memmove(shelf->support, shelf->support + 1, sizeof shelf->support - sizeof shelf->support[0]);
            shelf->supports--;
        }
        shelf->support[shelf->supports++] = place;
    }
}

/* Example `at` of the support, classes taking turns; 0 past the end. */
static const acc_kept *mixed(const acc_device *d, uint32_t at, int32_t *label) {
    for (uint32_t turn = 0; turn < ACC_SHOTS; turn++)
        for (uint32_t s = 0; s < d->begun; s++) {
            const acc_shelf *shelf = &d->shelves[d->turns[s]];
            if (turn >= shelf->supports || at--) continue;
            *label = d->turns[s];
            return &shelf->kept[shelf->support[turn]];
        }
    return 0;
}

static void target_of(const acc_device *d, const acc_kept *kept, int32_t label, float *to) {
#if ACC_CLASSES
    (void)d, (void)kept;
    for (int32_t c = 0; c < ACC_OUTPUTS; c++) to[c] = c == label ? 1.0f : 0.0f;
#else
    (void)label;
    acc_normalize_values(d, kept->values, to);
#endif
}

/* ---- steps */

/* Examples `from` to `until` of the support into the batch; what is left over is filled up with weight 0. */
static void fill(acc_device *d, uint32_t from, uint32_t until) {
    if (d->filled_from == from && d->filled_until == until) return;
    d->filled_from = from;
    d->filled_until = until;
    for (uint32_t i = 0; i < ACC_PART; i++) {
        int32_t label = 0;
        const int used = from + i < until;
        const acc_kept *kept = mixed(d, used ? from + i : from, &label);
        (void)acc_normalize(d, kept->x, d->batch_x + i * ACC_INPUT);
        d->batch_w[i] = used ? 1.0f : 0.0f;
#if ACC_CLASSES
        d->batch_y[i] = (float)label;
#else
        target_of(d, kept, label, d->batch_y + i * ACC_OUTPUTS);
#endif
    }
}

/* The bundle's steps from `from` into the candidate, each over the next batch in turn; whether all is finite. */
static int take_steps(acc_device *d, const float *from, uint32_t all) {
    const float *numbers = acc_numbers(d);
    const uint32_t batches = (all + ACC_BATCH - 1) / ACC_BATCH;
    float *params = d->candidate;
    memcpy(params, from, sizeof d->candidate);
    for (uint32_t k = 0; k != ACC_STEPS; k++) {
        const float *rates = numbers + ACC_AT_RATES + (k < ACC_RATE_STEPS ? k : ACC_RATE_STEPS - 1) * ACC_RATES;
        const uint32_t first = k % batches * ACC_BATCH;
        const uint32_t last = first + ACC_BATCH < all ? first + ACC_BATCH : all;
#if ACC_PART == ACC_BATCH
        fill(d, first, last);
        acc_step(numbers, params, d->batch_x, d->batch_y, d->batch_w, rates, params, 1.0f, d->arena);
#else
        memset(d->moved, 0, sizeof d->moved);
        for (uint32_t at = first; at < last; at += ACC_PART) {
            const uint32_t some = at + ACC_PART < last ? ACC_PART : last - at;
            fill(d, at, at + some);
            acc_step(numbers, params, d->batch_x, d->batch_y, d->batch_w, rates, d->moved,
                     (float)some / (float)(last - first), d->arena);
        }
        for (int32_t i = 0; i < ACC_MOVING; i++) params[i] += d->moved[i];
#endif
    }
    for (int32_t i = 0; i < ACC_MOVING; i++)
        if (!isfinite(params[i])) return 0;
    return 1;
}

/* Mean loss of held-back examples; what is no number is worse than any. */
static float judged(acc_device *d, const float *params, uint32_t judges) {
    float sum = 0.0f, target[ACC_OUTPUTS];
    for (uint32_t s = 0; s < d->begun; s++) {
        const acc_shelf *shelf = &d->shelves[d->turns[s]];
        for (uint32_t i = 0; i < shelf->helds; i++) {
            const acc_kept *kept = &shelf->kept[shelf->held[i]];
            (void)acc_normalize(d, kept->x, d->x);
            target_of(d, kept, d->turns[s], target);
            outputs_of(d, params);
            sum += acc_loss(d, target);
        }
    }
    sum /= (float)judges;
    return isnan(sum) ? INFINITY : sum;
}

/* Take the steps, then use what the held-back examples find best: the start, the start after the steps, and of an
 * adapted device what it uses after as many more, and as it is. The candidates share one place, so that the first is
 * made again where it wins after another was tried. */
void acc_adapt(acc_device *d) {
    enum { START, FROM_START, FROM_HERE, HERE } best = START;
    uint32_t all = 0, judges = 0;
    for (uint32_t s = 0; s < d->begun; s++) {
        all += d->shelves[d->turns[s]].supports;
        judges += d->shelves[d->turns[s]].helds;
    }
    if (!all) return;
    const int here = d->state.adapted != 0;
    d->since = 0;
    d->filled_until = 0;
    acc_count(&d->counts.steps, (uint32_t)(here ? 2 * ACC_STEPS : ACC_STEPS));
    int finite = take_steps(d, start_of(d), all);
    if (judges < d->config.judge_from) { /* what adapting did for devices held out in training decides */
        if (acc_numbers(d)[ACC_AT_PAYS] > 0.0f) {
            if (finite) best = FROM_START;
            else if (here) best = take_steps(d, d->state.params, all) ? FROM_HERE : HERE;
        }
    } else {
        float least = judged(d, start_of(d), judges), found;
        if (finite && (found = judged(d, d->candidate, judges)) < least) least = found, best = FROM_START;
        if (here) {
            finite = take_steps(d, d->state.params, all);
            if (finite && (found = judged(d, d->candidate, judges)) < least) least = found, best = FROM_HERE;
            if (judged(d, d->state.params, judges) < least) best = HERE;
            if (best == FROM_START) (void)take_steps(d, start_of(d), all);
        }
    }
    if (best == FROM_START || best == FROM_HERE) memcpy(d->state.params, d->candidate, sizeof d->candidate);
    d->state.adapted = d->state.learnt = best != START;
    acc_count(&d->counts.adaptations, d->state.adapted);
    acc_count(&d->counts.kept_starts, !d->state.adapted);
}

void acc_take(acc_device *d, const acc_real *x, int32_t label, const float *values, const float *target, int response) {
    (void)target;
    keep(d, x, label, values);
    d->since++;
    if (response == ACC_ANEW) {
        keep_newest(d, d->config.keep);
        acc_start_afresh(d);
    }
    if (response) d->hurry = d->config.hurry;
    uint32_t every = d->hurry ? d->config.every / 4 : d->config.every;
    if (!every) every = 1;
    if (d->hurry) d->hurry--;
    if (response || d->since >= every) acc_adapt(d);
}

void acc_forget_examples(acc_device *d) { keep_newest(d, 0); }

#else
typedef int acc_no_gradient; /* a file may not be empty */
#endif
