package serve

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
)

// trim gives back the memory that only past work needed. One binary holds all
// roles, and what the others' packages touched to initialise themselves stays
// resident until somebody asks for the memory: some 30 MiB of program text and
// constants. What is used again is mapped again from the page cache. The kernel
// would do the same under pressure, but a node that is full counts what is
// resident.
func trim() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var access string
		// Only what nobody can have written: its pages are those of the file.
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to,
			&access); err != nil || access[1] != '-' || !strings.HasSuffix(lines.Text(), " "+self) {
			continue
		}
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
	}
}
