// Compiled without exceptions: pthread_cleanup_push is then glibc's for C, which is
// left by a jump before any frame of ours would have to be unwound.
#ifndef _WIN32
#include <pthread.h>
#include <unistd.h>
#endif

namespace lamina {

namespace {

#ifndef _WIN32
void sleep_for_good(void*) {
  for (;;) pause();
}
#endif

}  // namespace

void outliving(void (*work)(void*), void* argument);

void outliving(void (*work)(void*), void* argument) {
#ifdef _WIN32  // threads end there without unwinding
  work(argument);
#else
  pthread_cleanup_push(sleep_for_good, nullptr);
  work(argument);
  pthread_cleanup_pop(0);
#endif
}

}  // namespace lamina
