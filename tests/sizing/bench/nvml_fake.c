/* As much of NVML as `freehold.sizing.bench.nvml` calls: one accelerator that has drawn 1,234.5 joules. */
#include <string.h>

static int device = 7;

int nvmlInit_v2(void) { return 0; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    *handle = &device;
    return strcmp(uuid, "GPU-here") == 0 ? 0 : 6;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    if (handle != &device)
        return 2;
    *millijoules = 1234500;
    return 0;
}
