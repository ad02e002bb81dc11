/* A simulation in C that calls a network: a particle in a plane, pushed by a force that the network gives. */

#include <stdint.h>

typedef void (*fastmlp_predict)(void *network, const double *x, double *out);

/* Move a particle, y = (place, speed) in two dimensions, by so many steps of symplectic Euler. */
void simulate(fastmlp_predict predict, void *network, double *y, int64_t steps, double h)
{
    double force[2];
    for (int64_t step = 0; step < steps; step++) {
        predict(network, y, force);
        for (int i = 0; i < 2; i++) {
            y[2 + i] += h * force[i];
            y[i] += h * y[2 + i];
        }
    }
}
