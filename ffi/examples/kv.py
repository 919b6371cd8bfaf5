"""Any language that can call C can use libfarwatch; here Python, without any package:

    python3 kv.py LIBRARY CONNECT     such as libfarwatch.so.0 127.0.0.1:2181
"""

import ctypes
import sys

FW_CSTR = ctypes.c_size_t(-1)
FW_DEFAULT_TIMEOUT = ctypes.c_int64(-1)
FW_EPHEMERAL = 1


class Failed(Exception):
    """A call failed; the text says what to do about it."""


class Client:
    """A session, for a `with` block."""

    def __init__(self, library, connect):
        self.fw = ctypes.CDLL(library)
        self.fw.fw_error_text.restype = ctypes.c_char_p
        self.fw.fw_result_data.restype = ctypes.c_void_p
        self.fw.fw_version_string.restype = ctypes.c_char_p
        self.client = ctypes.c_void_p()
        config = ctypes.c_void_p()
        self._try(self.fw.fw_config_new, ctypes.byref(config))
        try:
            self._try(self.fw.fw_config_set, config, b"connect", FW_CSTR, connect.encode(), FW_CSTR)
            self._try(self.fw.fw_client_open, config, ctypes.byref(self.client))
        finally:
            self.fw.fw_config_free(config)

    def _try(self, function, *arguments):
        error = ctypes.c_void_p()
        if function(*arguments, ctypes.byref(error)) != 0:
            text = self.fw.fw_error_text(error).decode()
            self.fw.fw_error_free(error)
            raise Failed(text)

    def create(self, path, data, mode=0):
        size = ctypes.c_size_t(len(data))
        self._try(self.fw.fw_client_create, self.client, path.encode(), FW_CSTR, data, size,
                  ctypes.c_uint32(mode), FW_DEFAULT_TIMEOUT, None)

    def get(self, path):
        result, size = ctypes.c_void_p(), ctypes.c_size_t()
        self._try(self.fw.fw_client_get, self.client, path.encode(), FW_CSTR, ctypes.c_uint32(0),
                  FW_DEFAULT_TIMEOUT, ctypes.byref(result))
        data = self.fw.fw_result_data(result, ctypes.byref(size))
        copy = None if data is None else ctypes.string_at(data, size.value)
        self.fw.fw_result_free(result)
        return copy

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.fw.fw_client_free(self.client)


def main():
    with Client(sys.argv[1], sys.argv[2]) as client:
        print("libfarwatch", client.fw.fw_version_string().decode())
        client.create("/from-python", b"hello", FW_EPHEMERAL)
        print("/from-python is", client.get("/from-python").decode())
        try:
            client.get("/no/such/node")
        except Failed as why:
            print("refused as it should be:", why)


if __name__ == "__main__":
    main()
