package main

import (
	"fmt"
	"iter"
	"slices"
)

func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func sum() int {
	total := 0
	for i := range count(3) {
		total += i
	}
	return total
}

func nested() int {
	total := 0
	for i := range count(2) {
		for j := range count(2) {
			total += i * j
			if i+j > 1 {
				return total
			}
		}
	}
	return total
}

func deferring() {
	for i := range count(2) {
		defer fmt.Print(i)
	}
	fmt.Println()
}

func library() int {
	n := 0
	for _, v := range slices.All([]int{1, 2}) {
		n += v
	}
	return n
}

func main() {
	sum()
	nested()
	deferring()
	library()
	pull()
}

func pull() int {
	next, stop := iter.Pull(count(2))
	defer stop()
	a, _ := next()
	b, _ := next()
	return a + b
}
