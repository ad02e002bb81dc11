/* Back-propagation as nested loops: one epoch of plain gradient descent, sigmoid hidden layers, softmax output, cross-entropy.

   The loops of fastmlp/kernels/textbook.py in C, in the same order, with the same line that skips zeros. M rows of a batch, K inputs
   and N units of a layer. INPUT is the type of the data, uint8_t or float. SKIP_ZEROS: whether that line looks at all. */

#include <math.h>
#include <stdint.h>

#ifdef _OPENMP
void omp_set_num_threads(int);
void set_threads(int threads) { omp_set_num_threads(threads); }
#else
void set_threads(int threads) { (void)threads; }
#endif

#ifndef SKIP_ZEROS
#define SKIP_ZEROS 1
#endif
#define IS_SKIPPED(value) (SKIP_ZEROS && (value) == 0)

#define OVER_THREADS _Pragma("omp parallel for if (parallel)")
#define SUM _Pragma("omp simd reduction(+ : total)")

static void gather(const INPUT *restrict x, const int64_t *rows, float scale, int64_t M, int64_t K, int parallel, float *restrict out)
{
    OVER_THREADS
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < K; k++)
            out[m * K + k] = x[rows[m] * K + k] * scale;
}

/* out = x @ weight + bias */
static void dense_forward(const float *restrict x, const float *restrict weight, const float *restrict bias, int64_t M, int64_t K,
                          int64_t N, int parallel, float *restrict out)
{
    OVER_THREADS
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++)
            out[m * N + n] = bias[n];
        for (int64_t k = 0; k < K; k++)
            if (!IS_SKIPPED(x[m * K + k]))
                for (int64_t n = 0; n < N; n++)
                    out[m * N + n] += x[m * K + k] * weight[k * N + n];
    }
}

static void sigmoid(const float *restrict z, int64_t size, float *restrict out)
{
    for (int64_t i = 0; i < size; i++)
        out[i] = 1 / (1 + expf(-z[i]));
}

/* delta = derivative of the mean loss with respect to z; returns the summed loss */
static double softmax_cross_entropy(const float *restrict z, const int64_t *y, const int64_t *rows, int64_t M, int64_t C,
                                    int64_t *correct, float *restrict delta)
{
    double loss = 0;
    for (int64_t m = 0; m < M; m++) {
        int64_t best = 0, t = y[rows[m]];
        for (int64_t c = 1; c < C; c++)
            if (z[m * C + c] > z[m * C + best])
                best = c;
        float largest = z[m * C + best], total = 0;
        for (int64_t c = 0; c < C; c++) {
            delta[m * C + c] = expf(z[m * C + c] - largest);
            total += delta[m * C + c];
        }
        loss += logf(total) + largest - z[m * C + t];
        *correct += best == t;
        for (int64_t c = 0; c < C; c++)
            delta[m * C + c] /= total * M;
        delta[m * C + t] -= 1.0f / M;
    }
    return loss;
}

/* out = delta @ weight.T */
static void backward_input(const float *restrict delta, const float *restrict weight, int64_t M, int64_t K, int64_t N, int parallel,
                           float *restrict out)
{
    OVER_THREADS
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < K; k++) {
            float total = 0;
            SUM
            for (int64_t n = 0; n < N; n++)
                total += delta[m * N + n] * weight[k * N + n];
            out[m * K + k] = total;
        }
}

/* delta *= a * (1 - a) */
static void sigmoid_backward(const float *restrict a, int64_t size, float *restrict delta)
{
    for (int64_t i = 0; i < size; i++)
        delta[i] *= a[i] * (1 - a[i]);
}

/* weight -= learning_rate * x.T @ delta; bias -= learning_rate * sum of delta */
static void sgd_update(float *restrict weight, float *restrict bias, const float *restrict x, const float *restrict delta, int64_t M,
                       int64_t K, int64_t N, float learning_rate, int parallel)
{
    OVER_THREADS
    for (int64_t k = 0; k < K; k++)
        for (int64_t m = 0; m < M; m++)
            if (!IS_SKIPPED(x[m * K + k])) {
                float step = learning_rate * x[m * K + k];
                for (int64_t n = 0; n < N; n++)
                    weight[k * N + n] -= step * delta[m * N + n];
            }
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++)
            bias[n] -= learning_rate * delta[m * N + n];
}

/* The operations of one layer for themselves. */
void layer_forward(const float *x, const float *weight, const float *bias, int64_t M, int64_t K, int64_t N, int parallel, float *out)
{
    dense_forward(x, weight, bias, M, K, N, parallel, out);
}

void layer_backward(const float *delta, const float *weight, int64_t M, int64_t K, int64_t N, int parallel, float *out)
{
    backward_input(delta, weight, M, K, N, parallel, out);
}

void layer_update(float *weight, float *bias, const float *x, const float *delta, int64_t M, int64_t K, int64_t N, float learning_rate,
                  int parallel)
{
    sgd_update(weight, bias, x, delta, M, K, N, learning_rate, parallel);
}

/* One step per batch of `order`; returns the summed loss.

   sizes: layers + 1 numbers of units. parameters: W0, b0, W1, b1, ... scratch: for every layer, inputs included, twice
   batch_size * its units. */
double train_epoch(float *parameters, const int64_t *sizes, int64_t layers, const INPUT *x, const int64_t *y, const int64_t *order,
                   int64_t rows, int64_t batch_size, float scale, float learning_rate, int parallel, float *scratch, int64_t *correct)
{
    float *weight[layers], *bias[layers], *a[layers + 1], *delta[layers + 1];
    for (int64_t l = 0; l <= layers; l++) {
        a[l] = scratch;
        delta[l] = scratch + batch_size * sizes[l];
        scratch += 2 * batch_size * sizes[l];
        if (l < layers) {
            weight[l] = parameters;
            bias[l] = parameters + sizes[l] * sizes[l + 1];
            parameters = bias[l] + sizes[l + 1];
        }
    }
    double loss = 0;
    for (int64_t first = 0; first < rows; first += batch_size) {
        int64_t M = rows - first < batch_size ? rows - first : batch_size;
        gather(x, order + first, scale, M, sizes[0], parallel, a[0]);
        for (int64_t l = 0; l < layers; l++) {
            float *z = l + 1 < layers ? delta[l + 1] : a[l + 1]; /* delta is free until the way back */
            dense_forward(a[l], weight[l], bias[l], M, sizes[l], sizes[l + 1], parallel, z);
            if (l + 1 < layers)
                sigmoid(z, M * sizes[l + 1], a[l + 1]);
        }
        loss += softmax_cross_entropy(a[layers], y, order + first, M, sizes[layers], correct, delta[layers]);
        for (int64_t l = layers - 1; l >= 0; l--) {
            if (l > 0) {
                backward_input(delta[l + 1], weight[l], M, sizes[l], sizes[l + 1], parallel, delta[l]);
                sigmoid_backward(a[l], M * sizes[l], delta[l]);
            }
            sgd_update(weight[l], bias[l], a[l], delta[l + 1], M, sizes[l], sizes[l + 1], learning_rate, parallel);
        }
    }
    return loss;
}
