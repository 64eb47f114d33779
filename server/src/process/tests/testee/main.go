// The program that the tests of the ptrace engine trace. Each mode checks itself: exit status 0 means that nothing it did went otherwise than without a
// debugger.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var table = [8]int64{1, 2, 3, 4, 5, 6, 7, 8}

var calls atomic.Int64

//go:noinline
func leaf(p *[4]int64) { p[2]++ }

//go:noinline
func double(n int64) int64 { return 2 * n }

var callback = double

// pass has what a compiler emits: a stack check, pushes, operands relative to the instruction pointer, jumps, calls of both kinds.
//
//go:noinline
func pass(p *[4]int64, n int64) int64 {
	if n&1 == 0 {
		p[0] += n
	} else {
		p[1] += table[n&7]
	}
	leaf(p)
	switch n % 5 {
	case 3:
		p[3] += n / 3
	}
	return callback(p[0]) + p[1]
}

func expected(n int64) (p [4]int64) {
	for i := int64(0); i < n; i++ {
		if i&1 == 0 {
			p[0] += i
		} else {
			p[1] += i&7 + 1
		}
		p[2]++
		if i%5 == 3 {
			p[3] += i / 3
		}
	}
	return p
}

// execute runs a program in a child of fork(2), which has memory of its own from the beginning.
func execute(program string, args ...string) int {
	path, _ := syscall.BytePtrFromString(program)
	argv, _ := syscall.SlicePtrFromStrings(append([]string{program}, args...))
	envv, _ := syscall.SlicePtrFromStrings(os.Environ())
	pid := forkAndExecute(path, &argv[0], &envv[0])
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil || !status.Exited() {
		return -1
	}
	return status.ExitStatus()
}

//go:noinline
//go:nosplit
func forkAndExecute(path *byte, argv, envv **byte) uintptr {
	pid, _, _ := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	if pid == 0 {
		syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(argv)), uintptr(unsafe.Pointer(envv)))
		syscall.RawSyscall(syscall.SYS_EXIT, 9, 0, 0)
	}
	return pid
}

func fail(format string, arguments ...any) {
	fmt.Printf("WRONG: "+format+"\n", arguments...)
	os.Exit(3)
}

// round passes n times on the calling thread, and checks the sums.
func round(n, spare int64) {
	var p [4]int64
	for i := int64(0); i < n; i++ {
		if got := pass(&p, i); got != 2*p[0]+p[1] {
			fail("pass answered %d, not %d", got, 2*p[0]+p[1])
		}
		for s := int64(0); s < spare; s++ {
			calls.Add(1)
		}
	}
	if p != expected(n) {
		fail("sums %v, not %v", p, expected(n))
	}
}

func onThreads(threads int, f func(thread int)) {
	var all sync.WaitGroup
	for t := 0; t < threads; t++ {
		t := t // the module's version of Go has one variable for all rounds
		all.Add(1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer all.Done()
			f(t)
		}()
	}
	all.Wait()
}

// storm makes every kind of asynchronous signal that a Go program sees, as often as it can, and garbage.
func storm() {
	interval := [4]int64{0, 1000, 0, 1000}
	syscall.Syscall(syscall.SYS_SETITIMER, 2, uintptr(unsafe.Pointer(&interval)), 0) // ITIMER_PROF
	go func() {
		pid := syscall.Getpid()
		for {
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				continue
			}
			for _, thread := range threads {
				tid, _ := strconv.Atoi(thread.Name())
				syscall.Syscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tid), uintptr(syscall.SIGURG))
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	go func() {
		var keep [][]byte
		for i := 0; ; i++ {
			keep = append(keep, make([]byte, 4<<10))
			if len(keep) > 500 {
				keep = nil
				runtime.GC()
				time.Sleep(time.Millisecond)
			}
		}
	}()
}

type node struct {
	next  *node
	value int64
}

// load faults where n is nil.
//
//go:noinline
func load(n *node) int64 { return n.value + 1 }

func recovered(n *node) (value int64, faulted bool) {
	defer func() {
		if err := recover(); err != nil {
			if err.(runtime.Error).Error() != "runtime error: invalid memory address or nil pointer dereference" {
				fail("recovered %v", err)
			}
			faulted = true
		}
	}()
	return load(n), false
}

//go:noinline
func divide(a, b int64) int64 { return a / b }

func divided(a, b int64) (value int64, faulted bool) {
	defer func() {
		if err := recover(); err != nil {
			faulted = true
		}
	}()
	return divide(a, b), false
}

func faults(n int) {
	for i := 0; i < n; i++ {
		if value, faulted := recovered(&node{value: int64(i)}); faulted || value != int64(i)+1 {
			fail("load %d: %d, %v", i, value, faulted)
		}
		if _, faulted := recovered(nil); !faulted {
			fail("no fault")
		}
		if value, faulted := divided(int64(i), 1); faulted || value != int64(i) {
			fail("divide: %d", value)
		}
		if _, faulted := divided(int64(i), 0); !faulted {
			fail("no fault of a division by zero")
		}
	}
}

// count counts signals that reach the program's own handler.
func count(n int) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGUSR1)
	fmt.Println("ready")
	var p [4]int64
	for i := 0; i < n; {
		select {
		case <-received:
			i++
			fmt.Println(i)
		default:
			pass(&p, 1)
		}
	}
}

// more holds the modes of other files.
var more = map[string]func(n int){}

func init() {
	if os.Args[1] == "exec" {
		// The first thread is kept by the main goroutine.
		runtime.LockOSThread()
	}
}

func main() {
	mode := os.Args[1]
	number := func(at int) int {
		n, _ := strconv.Atoi(os.Args[at])
		return n
	}
	switch mode {
	case "passes":
		// passes THREADS PASSES STORM
		if number(4) > 0 {
			storm()
		}
		onThreads(number(2), func(int) { round(int64(number(3)), 0) })
	case "steady":
		// steady THREADS SPARE STORM: until SIGTERM, which ends it in order
		if number(4) > 0 {
			storm()
		}
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		var over atomic.Bool
		go func() { <-ended; over.Store(true) }()
		fmt.Println("ready")
		onThreads(number(2), func(int) {
			for !over.Load() {
				round(50, int64(number(3)))
			}
		})
	case "births":
		// births N: threads that end with their goroutine
		var p [4]int64
		for i := 0; i < number(2); i++ {
			var done sync.WaitGroup
			for t := 0; t < 4; t++ {
				done.Add(1)
				go func() {
					runtime.LockOSThread()
					round(3, 0)
					done.Done()
				}()
			}
			done.Wait()
			pass(&p, 1)
		}
	case "faults":
		faults(number(2))
	case "forks":
		for i := 0; i < number(2); i++ {
			out, err := exec.Command("/bin/sh", "-c", "echo $((6*7)); exit 5").Output()
			if code := err.(*exec.ExitError).ExitCode(); string(out) != "42\n" || code != 5 {
				fail("the child said %q and ended with %d", out, code)
			}
			round(2, 0)
		}
	case "family":
		// family N: itself N times, as a child of vfork(2) and as one of fork(2) by turns
		for i := 0; i < number(2); i++ {
			status := 0
			if i&1 == 0 {
				if exec.Command(os.Args[0], "passes", "2", "10", "0").Run() != nil {
					status = 1
				}
			} else {
				status = execute(os.Args[0], "passes", "2", "10", "0")
			}
			if status != 0 {
				fail("child %d ended with %d", i, status)
			}
			round(2, 0)
		}
	case "count":
		count(number(2))
	case "exec":
		// exec N: by a thread that is not the first, N times
		next := []string{os.Args[0], "exec", strconv.Itoa(number(2) - 1)}
		if number(2) == 0 {
			next = []string{os.Args[0], "passes", "2", "10", "0"}
		}
		onThreads(3, func(thread int) {
			round(2, 0)
			if thread == 1 {
				syscall.Exec(os.Args[0], next, os.Environ())
			}
		})
	case "breakpoint":
		for i := 0; i < number(2); i++ {
			runtime.Breakpoint()
		}
	case "sleep":
		fmt.Println("ready")
		onThreads(number(2), func(int) {
			for {
				time.Sleep(10 * time.Millisecond)
			}
		})
	case "exit":
		os.Exit(number(2))
	default:
		more[mode](number(2))
	}
	fmt.Println("ok")
}
