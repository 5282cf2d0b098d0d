// The same for the C++ library: g++ 8 has what it writes into objects in its headers, later ones keep it in the library.

#define _GLIBCXX_EXTERN_TEMPLATE 0
#include <new>
#include <sstream>

namespace std {

// 3.4.29: too many elements asked of `new`.
__attribute__((visibility("hidden"), noreturn)) void __throw_bad_array_new_length() { throw bad_array_new_length(); }

}  // namespace std

// 3.4.26: streams without arguments.
template std::basic_ostringstream<char>::basic_ostringstream();
template std::basic_stringstream<char>::basic_stringstream();
