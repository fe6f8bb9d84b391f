// A library that crashes, or waits for a minute, as soon as it is loaded: what a vendor's library may do.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void misbehave(void) {
  fprintf(stderr, "LIBNATIVE: standing chatter\n\033[1;31mabout to fail\033[m\n");
  if (NIBBLE_TEST_CRASH)
    abort();
  sleep(60);
}
