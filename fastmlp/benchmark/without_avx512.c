/* A processor without AVX-512, for the process that this is preloaded into (LD_PRELOAD) and for those that it starts.

   Libraries choose their code by what the instruction CPUID answers: NumPy, OpenBLAS, oneDNN, MKL, PyTorch and XLA, some of which obey no
   variable. The kernel lets a thread fault on CPUID (arch_prctl(2), ARCH_SET_CPUID; CLONE hands it on); whoever does gets the answer of
   the processor without the bits of AVX-512, AVX10 and AMX: Intel 64 Software Developer's Manual, volume 2A, CPUID, leaves 7 and 13. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012 };

typedef int set_action(int, const struct sigaction *, struct sigaction *);

static set_action *set;         /* sigaction(2) as it is */
static struct sigaction theirs; /* what the program wants to be done at faults of other kinds */
static int has_faulted;         /* by such a one: from then on it is alone with them */

static void may_ask(long yes) { syscall(SYS_arch_prctl, ARCH_SET_CPUID, yes); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || instruction[0] != 0x0f || instruction[1] != 0xa2) {
        has_faulted = 1;
        set(number, &theirs, 0); /* the fault comes again, to whom it belongs */
        return;
    }
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    may_ask(1);
    __cpuid_count(leaf, part, a, b, c, d);
    may_ask(0);
    if (leaf == 7 && part == 0) {
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); /* F DQ IFMA PF ER CD BW VL */
        c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);                                    /* VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
        d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25); /* VNNIW FMAPS VP2INTERSECT, AMX, FP16 */
    }
    if (leaf == 7 && part == 1) {
        a &= ~(1u << 5 | 1u << 21); /* BF16, of AVX-512 and of AMX */
        d &= ~(1u << 8 | 1u << 19); /* AMX-COMPLEX, AVX10 */
    }
    if (leaf == 13 && part == 0)
        a &= ~(7u << 5 | 3u << 17); /* their registers are not kept */
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    set = (set_action *)dlsym(RTLD_NEXT, "sigaction");
    set(SIGSEGV, &action, &theirs);
    may_ask(0);
}

/* Programs that want to be told of faults, such as gcc, are told of all others. */
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    if (number != SIGSEGV || has_faulted)
        return ((set_action *)dlsym(RTLD_NEXT, "sigaction"))(number, action, before);
    struct sigaction last = theirs;
    if (action)
        theirs = *action;
    if (before)
        *before = last;
    return 0;
}

sighandler_t signal(int number, sighandler_t handler) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;
    return sigaction(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}
