//go:build go1.23

package main

// ranges pauses in the body of a loop over a function, in the body of another one.
//
//go:noinline
func ranges(limit int) (sum int) {
	outer := "outer"
	hidden := 1
	for i := range counting(limit) {
		hidden := i * 10
		for j, name := range naming(i) {
			inner := i + j
			sum += inner + hidden
			pause()
			use(inner, name, outer)
		}
	}
	return sum + hidden
}

func counting(limit int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		local := 5
		if !yield(limit) {
			return
		}
		use(local)
	}
}

func naming(number int) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		yield(number, "name")
	}
}
