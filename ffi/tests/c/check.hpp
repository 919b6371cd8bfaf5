// What the programs in C++ check with. No exceptions: they are compiled without, too.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <farwatch.hpp>

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

// The value, which must be there.
template <class T> T got(farwatch::expected<T> result, const char *file, int line) {
    if (!result) {
        std::fprintf(stderr, "%s:%d: %s\n", file, line, result.error().text().data());
        std::exit(1);
    }
    return std::move(result).value();
}
#define GOT(call) got(call, __FILE__, __LINE__)

// Why there is none.
template <class T> fw_status refused(const farwatch::expected<T> &result) {
    return result ? FW_OK : result.error().status();
}

#endif
