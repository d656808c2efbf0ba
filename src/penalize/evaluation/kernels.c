/* The penalties l1 sum(abs(x)) + l2 sum(x * x) of many tensors: value, gradient and proximal step.

   One call does all tensors, each in one pass over memory, on the threads of torch's own OpenMP: this library is not
   linked with one, and finds torch's in the program. Python calls it through ctypes (native.py). */

#include <math.h>
#include <stdint.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define MOST_THREADS 256
#define SMALL 16384 /* a tensor up to this size is left to one thread */
#define BLOCK 2048  /* of so many values, which stay in the nearest cache, the sum and then the gradients are made */
#define SUMMED 256  /* so many values are summed in their own precision, and their sums in double */

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZED
#endif

static int this_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static int all_threads(void)
{
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}

/* The part of the tensor with this index that the calling thread works on. */
static void own_part(int64_t index, int64_t size, int64_t *begin, int64_t *end)
{
    int64_t thread = this_thread(), threads = all_threads();
    if (size <= SMALL) {
        *begin = 0;
        *end = index % threads == thread ? size : 0;
        return;
    }
    int64_t each = (size + threads - 1) / threads;
    each = (each + 15) / 16 * 16; /* whole lines of the cache */
    *begin = each * thread < size ? each * thread : size;
    *end = *begin + each < size ? *begin + each : size;
}

#define REAL float
#define TYPED(name) name##_float
#define ABSOLUTE fabsf
#define ROOT sqrtf
#include "kernels.h"
#undef REAL
#undef TYPED
#undef ABSOLUTE
#undef ROOT

#define REAL double
#define TYPED(name) name##_double
#define ABSOLUTE fabs
#define ROOT sqrt
#include "kernels.h"
