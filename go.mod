module github.com/paritygate/paritygate

go 1.25.0
