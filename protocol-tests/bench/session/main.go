// A program to be debugged for the benchmark of sessions: as many goroutines as its argument says, parked in several ways, and a loop to step through.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

type item struct {
	Name   string
	Count  int
	Tags   []string
	Weight float64
	Parent *item
}

type state struct {
	items map[string]int
	last  *item
	sum   int
}

func park(n int) {
	var ready sync.WaitGroup
	block, done := make(chan int), make(chan struct{})
	var mutex sync.Mutex
	mutex.Lock()
	ready.Add(n)
	for i := 0; i < n; i++ {
		i := i
		go func() {
			ready.Done()
			switch i % 4 {
			case 0:
				<-block
			case 1:
				mutex.Lock()
			case 2:
				time.Sleep(time.Hour)
			default:
				select {
				case v := <-block:
					fmt.Println(v, i)
				case <-done:
				}
			}
		}()
	}
	ready.Wait()
	// Those that are ready have the next moment to come to rest.
	time.Sleep(50 * time.Millisecond)
}

func deep(n int, s *state) int {
	if n > 0 {
		return deep(n-1, s) + 1
	}
	return loop(s)
}

func loop(s *state) int {
	root := &item{Name: "root", Count: 1, Tags: []string{"a", "b", "c"}, Weight: 1.5}
	for i := 0; ; i++ { // the loop
		it := item{Name: "item " + strconv.Itoa(i), Count: i, Parent: root} // stop here
		it.Tags = append(it.Tags, "x", "y")
		s.items[it.Name] = i
		s.last = &it
		s.sum += it.Count
		half := float64(s.sum) / 2
		it.Weight = half
		if s.sum < 0 {
			return i
		}
	}
}

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	park(n)
	fmt.Println(deep(40, &state{items: map[string]int{}}))
}
