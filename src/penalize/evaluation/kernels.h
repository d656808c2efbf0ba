/* Included by kernels.c once for each type of number REAL; TYPED adds the type to a function's name.

   A strength of 0 leaves its part out, of infinite weights too. */

VECTORIZED static void TYPED(add_part)(REAL *restrict gradient, const REAL *restrict x, int64_t size, REAL l1, REAL l2)
{
    REAL twice = 2 * l2;
    for (int64_t i = 0; i < size; ++i) {
        REAL sign = x[i] > 0 ? l1 : x[i] < 0 ? -l1 : 0;
        gradient[i] += l2 != 0 ? sign + twice * x[i] : sign;
    }
}

VECTORIZED static void TYPED(write_part)(REAL *restrict gradient, const REAL *restrict x, int64_t size, REAL l1,
                                         REAL l2)
{
    REAL twice = 2 * l2;
    for (int64_t i = 0; i < size; ++i) {
        REAL sign = x[i] > 0 ? l1 : x[i] < 0 ? -l1 : 0;
        gradient[i] = l2 != 0 ? sign + twice * x[i] : sign;
    }
}

VECTORIZED static double TYPED(sum_part)(const REAL *restrict x, int64_t size, double l1, double l2)
{
    double all_absolutes = 0, all_squares = 0;
    for (int64_t at = 0; at < size; at += SUMMED) {
        int64_t end = at + SUMMED < size ? at + SUMMED : size;
        REAL absolutes = 0, squares = 0;
#pragma omp simd reduction(+ : absolutes, squares)
        for (int64_t i = at; i < end; ++i) {
            absolutes += ABSOLUTE(x[i]);
            squares += x[i] * x[i];
        }
        all_absolutes += absolutes;
        all_squares += squares;
    }
    return (l1 != 0 ? l1 * all_absolutes : 0) + (l2 != 0 ? l2 * all_squares : 0);
}

/* x = (x - clamp(x, -h l1, h l1)) / (1 + 2 h l2) with one step size h. */
VECTORIZED static void TYPED(shrink_alike)(REAL *restrict x, int64_t size, REAL step, REAL l1, REAL l2)
{
    REAL most = step * l1, divisor = 1 + 2 * step * l2;
    for (int64_t i = 0; i < size; ++i) {
        REAL taken = x[i] > most ? most : x[i] < -most ? -most : x[i];
        x[i] = (x[i] - taken) / divisor;
    }
}

/* The same with h = scale / (sqrt(squares + inside) + outside) of each coordinate. */
VECTORIZED static void TYPED(shrink_rooted)(REAL *restrict x, const REAL *restrict squares, int64_t size, REAL scale,
                                            REAL inside, REAL outside, REAL l1, REAL l2)
{
    for (int64_t i = 0; i < size; ++i) {
        REAL step = scale / (ROOT(squares[i] + inside) + outside);
        REAL most = step * l1;
        REAL taken = x[i] > most ? most : x[i] < -most ? -most : x[i];
        x[i] = (x[i] - taken) / (1 + 2 * step * l2);
    }
}

/* The same with h = scale / (squares + outside): its squares stand for their own roots. */
VECTORIZED static void TYPED(shrink_plain)(REAL *restrict x, const REAL *restrict squares, int64_t size, REAL scale,
                                           REAL outside, REAL l1, REAL l2)
{
    for (int64_t i = 0; i < size; ++i) {
        REAL step = scale / (squares[i] + outside);
        REAL most = step * l1;
        REAL taken = x[i] > most ? most : x[i] < -most ? -most : x[i];
        x[i] = (x[i] - taken) / (1 + 2 * step * l2);
    }
}

/* gradients[k] += l1[k] sign(tensors[k]) + 2 l2[k] tensors[k] */
void TYPED(add_gradients)(int64_t count, const int64_t *sizes, const REAL *const *tensors, REAL *const *gradients,
                          const double *l1, const double *l2, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < count; ++k) {
        int64_t begin, end;
        own_part(k, sizes[k], &begin, &end);
        TYPED(add_part)(gradients[k] + begin, tensors[k] + begin, end - begin, (REAL)l1[k], (REAL)l2[k]);
    }
}

/* gradients[k] = factor (l1[k] sign(tensors[k]) + 2 l2[k] tensors[k]) */
void TYPED(write_gradients)(int64_t count, const int64_t *sizes, const REAL *const *tensors, REAL *const *gradients,
                            const double *l1, const double *l2, double factor, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < count; ++k) {
        int64_t begin, end;
        own_part(k, sizes[k], &begin, &end);
        TYPED(write_part)(gradients[k] + begin, tensors[k] + begin, end - begin, (REAL)(factor * l1[k]),
                          (REAL)(factor * l2[k]));
    }
}

/* The sum over k of l1[k] sum(abs(tensors[k])) + l2[k] sum(tensors[k]^2); where `gradients` is given, their gradients
   are written to it in the same pass. The same for the same number of threads. */
double TYPED(value)(int64_t count, const int64_t *sizes, const REAL *const *tensors, REAL *const *gradients,
                    const double *l1, const double *l2, int threads)
{
    double sums[MOST_THREADS] = {0};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        double own = 0;
        for (int64_t k = 0; k < count; ++k) {
            int64_t begin, end;
            own_part(k, sizes[k], &begin, &end);
            for (int64_t at = begin; at < end; at += BLOCK) {
                int64_t size = end - at < BLOCK ? end - at : BLOCK;
                own += TYPED(sum_part)(tensors[k] + at, size, l1[k], l2[k]);
                if (gradients)
                    TYPED(write_part)(gradients[k] + at, tensors[k] + at, size, (REAL)l1[k], (REAL)l2[k]);
            }
        }
        sums[this_thread()] = own;
    }
    double sum = 0;
    for (int thread = 0; thread < threads; ++thread)
        sum += sums[thread];
    return sum;
}

/* The proximal steps; `numbers` has scale, inside, outside, l1 and l2 of each tensor. Without `squares[k]` the scale is
   the step size. */
void TYPED(shrink)(int64_t count, const int64_t *sizes, REAL *const *tensors, const REAL *const *squares,
                   const double (*numbers)[5], const int *rooted, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < count; ++k) {
        int64_t begin, end;
        own_part(k, sizes[k], &begin, &end);
        REAL *x = tensors[k] + begin;
        REAL scale = (REAL)numbers[k][0], inside = (REAL)numbers[k][1], outside = (REAL)numbers[k][2];
        REAL l1 = (REAL)numbers[k][3], l2 = (REAL)numbers[k][4];
        if (!squares[k])
            TYPED(shrink_alike)(x, end - begin, scale, l1, l2);
        else if (rooted[k])
            TYPED(shrink_rooted)(x, squares[k] + begin, end - begin, scale, inside, outside, l1, l2);
        else
            TYPED(shrink_plain)(x, squares[k] + begin, end - begin, scale, outside, l1, l2);
    }
}
